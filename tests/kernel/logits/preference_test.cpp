#include <lamina/kernel/cpu/logits/preference.hpp>

#include <cmath>

#include "kernel/logits/preference_problem.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;
using test::PreferenceProblem;

TEST_CASE("preference: the weight of a token is the derivative of all losses by its nll, kl apart") {
  for (const PreferenceLoss::Kind kind : test::preference_kinds) {
    CAPTURE(static_cast<int>(kind));
    PreferenceProblem problem(kind);
    std::vector<AnswerScore> scores(6);
    std::vector<float> weight(problem.nll.size());
    preference<Cpu>::weigh({}, {.sequences = problem.sequences.data(),
                                .count = 6,
                                .nll = problem.nll.data(),
                                .reference = problem.reference.data(),
                                .share = problem.share.data(),
                                .scores = scores.data(),
                                .weight = weight.data(),
                                .loss = problem.loss});
    for (const JudgedSequence& s : problem.sequences) {
      const auto m = static_cast<std::size_t>(s.first_row);
      if (s.role == SequenceRole::baseline) {  // kl is taken as a constant
        CHECK(weight[m] == 0);
        continue;
      }
      const float step = 0x1p-8f;
      PreferenceProblem up = problem, down = problem;
      up.nll[m] += step, down.nll[m] -= step;
      const double slope = (up.value() - down.value()) / (2 * static_cast<double>(step));
      CHECK(std::fabs(slope - static_cast<double>(weight[m])) <= 1e-3 * std::fabs(slope) + 1e-6);
    }
  }
}

TEST_CASE("preference: losses are finite where an answer is as good as certain or impossible") {
  for (const PreferenceLoss::Kind kind : test::preference_kinds)
    for (const float nll : {1e-4f, 1e4f}) {
      CAPTURE(static_cast<int>(kind), nll);
      PreferenceProblem problem(kind);
      for (int m = 0; m < 3; ++m) problem.nll[static_cast<std::size_t>(m)] = nll;
      CHECK(std::isfinite(problem.value()));
    }
}

TEST_CASE("preference: kto's kl is the mean over baselines, and never below 0") {
  PreferenceProblem problem(PreferenceLoss::Kind::kto);
  std::vector<AnswerScore> scores(6);
  for (int s : {1, 3, 5}) scores[static_cast<std::size_t>(s)] = {.model = -1.0 - s, .reference = -4.0};
  CHECK(group_kl(problem.sequences.data(), scores.data(), 2) == 0);
  scores[1].model = 5;
  CHECK(group_kl(problem.sequences.data(), scores.data(), 2) == Approx((9.0 + 0.0 - 2.0) / 3));
}
