#include <lamina/kernel/cpu/logits/logprobs.hpp>

#include <lamina/engine/request/logprobs.hpp>

#include "kernel/logprobs_problem.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

TEMPLATE_TEST_CASE("logprobs: what a sampler on the host finds from the same logits", "", float, bf16, f16) {
  using T = TestType;
  for (const int vocab : {1, 7, 2049}) {
    const test::LogprobsProblem<T> problem(vocab, {0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 0});
    std::vector<RowLogprobs> found(static_cast<std::size_t>(problem.rows), RowLogprobs{.rank = -7});
    const Logprobs<T> a{.logits = {problem.logits.data(), problem.rows, vocab},
                        .tokens = problem.tokens.data(),
                        .newest = problem.newest.data(),
                        .alternatives = problem.alternatives.data(),
                        .out = found.data()};
    logprobs<Cpu>::rows({}, a);
    for (int s = 0; s < problem.rows; ++s) {
      CAPTURE(vocab, s);
      const int alternatives = problem.alternatives[static_cast<std::size_t>(s)], token = a.token(s);
      const RowLogprobs& row = found[static_cast<std::size_t>(s)];
      if (alternatives < 0) {
        CHECK(row.rank == -7);
        continue;
      }
      std::vector<float> logits;
      for (int i = 0; i < vocab; ++i) logits.push_back(to_f32(a.logits(s, i)));
      const auto want = engine::logprobs_of(logits, std::max(token, 0), alternatives),
                 got = engine::sampled_of(row, token, alternatives, vocab);
      if (token >= 0) {
        CHECK(std::abs(got.token.logprob - want.token.logprob) < 1e-5);
        CHECK(got.token.rank == want.token.rank);
      } else {
        CHECK(row.rank == 0);
      }
      REQUIRE(got.top.size() == want.top.size());
      for (std::size_t i = 0; i < got.top.size(); ++i) {
        CHECK(got.top[i].id == want.top[i].id);
        CHECK(got.top[i].rank == want.top[i].rank);
        CHECK(std::abs(got.top[i].logprob - want.top[i].logprob) < 1e-5);
      }
    }
  }
}

TEST_CASE("logprobs: of logits that are not all finite the sum is none") {
  const test::LogprobsProblem<float> problem(9, {2});
  RowLogprobs found;
  logprobs<Cpu>::rows({}, Logprobs<float>{.logits = {problem.logits.data(), 1, 9},
                                          .tokens = problem.tokens.data(),
                                          .newest = problem.newest.data(),
                                          .alternatives = problem.alternatives.data(),
                                          .out = &found});
  CHECK(std::isnan(found.log_sum));
}
