#include <lamina/kernel/cpu/logits/logprobs.hpp>
#include <lamina/kernel/cuda/logits/logprobs.cuh>

#include "kernel/logprobs_problem.hpp"
#include "support/catch.hpp"
#include "support/cuda.cuh"

using namespace lamina;
using namespace lamina::kernel;
using testing::gpu;

TEMPLATE_TEST_CASE("logprobs on CUDA: what the CPU finds", "", float, bf16, f16) {
  using T = TestType;
  for (const int vocab : {1, 7, 300, 5000, 151936}) {
    const test::LogprobsProblem<T> problem(vocab, {0, 0, 0, 1, 0, 1, 0, 2, 1, 0, 0, 0, 2, 0, 0, 1, 0, 0});
    const std::vector<RowLogprobs> before(static_cast<std::size_t>(problem.rows), RowLogprobs{.rank = -7});
    auto want = before;
    const auto on = [&](const T* logits, const int* tokens, const int* newest, const int* alternatives,
                        RowLogprobs* out) {
      return Logprobs<T>{.logits = {logits, problem.rows, vocab},
                         .tokens = tokens,
                         .newest = newest,
                         .alternatives = alternatives,
                         .out = out};
    };
    logprobs<Cpu>::rows({}, on(problem.logits.data(), problem.tokens.data(), problem.newest.data(),
                               problem.alternatives.data(), want.data()));
    gpu().release();
    const auto a = on(gpu().upload(problem.logits), gpu().upload(problem.tokens), gpu().upload(problem.newest),
                      gpu().upload(problem.alternatives), gpu().upload(before));
    logprobs<Cuda>::rows(gpu().stream(), a);
    const std::vector<RowLogprobs> got = gpu().download(a.out, before.size());
    for (std::size_t s = 0; s < got.size(); ++s) {
      CAPTURE(vocab, s);
      if (std::isnan(want[s].log_sum)) {
        CHECK(std::isnan(got[s].log_sum));
        continue;
      }
      CHECK(std::abs(got[s].log_sum - want[s].log_sum) < 1e-5);
      CHECK(got[s].logit == want[s].logit);
      CHECK(got[s].rank == want[s].rank);
      for (int i = 0; i < std::min(problem.alternatives[s], vocab); ++i) {
        CHECK(got[s].ids[i] == want[s].ids[i]);
        CHECK(got[s].logits[i] == want[s].logits[i]);
      }
    }
  }
}
