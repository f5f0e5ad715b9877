#include <lamina/kernel/cpu/logits/preference.hpp>
#include <lamina/kernel/cuda/logits/preference.cuh>

#include "kernel/cuda_matrix.hpp"
#include "kernel/logits/preference_problem.hpp"

using namespace lamina;
using namespace lamina::kernel;
using namespace lamina::test;
using testing::gpu;

TEST_CASE("preference/cuda: weights are those of the CPU, within a rounding") {
  for (const PreferenceLoss::Kind kind : preference_kinds) {
    CAPTURE(static_cast<int>(kind));
    const PreferenceProblem problem(kind);
    std::vector<AnswerScore> scores(6);
    std::vector<float> weight(problem.nll.size());
    WeighAnswers a{.sequences = problem.sequences.data(),
                   .count = 6,
                   .nll = problem.nll.data(),
                   .reference = problem.reference.data(),
                   .share = problem.share.data(),
                   .scores = scores.data(),
                   .weight = weight.data(),
                   .loss = problem.loss};
    preference<Cpu>::weigh({}, a);
    a.sequences = gpu().upload(problem.sequences);
    a.nll = gpu().upload(problem.nll), a.reference = gpu().upload(problem.reference);
    a.share = gpu().upload(problem.share);
    a.scores = gpu().upload(scores);
    a.weight = gpu().template poisoned<float>(weight.size());
    ExactScratch scratch(0);
    preference<Cuda>::weigh(scratch.stream(), a);
    gpu().device().wait();
    const std::vector<float> got = gpu().download(a.weight, weight.size());
    for (std::size_t m = 0; m < weight.size(); ++m)
      CHECK(std::fabs(got[m] - weight[m]) <= 1e-6f * std::fabs(weight[m]));
  }
}
