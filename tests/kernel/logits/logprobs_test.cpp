#include <lamina/kernel/cpu/logits/logprobs.hpp>

#include <lamina/engine/request/logprobs.hpp>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "kernel/logprobs_problem.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::kernel;

namespace {
/// By definition: exponentials added up, logits sorted.
engine::Sampled by_definition(const std::vector<float>& logits, int id, int top) {
  double sum = 0;
  std::vector<std::pair<float, int>> sorted;
  for (int token = 0; const float x : logits) sum += std::exp(double{x}), sorted.emplace_back(-x, token++);
  std::sort(sorted.begin(), sorted.end());
  engine::Sampled out{.token = {id, double{logits.at(static_cast<std::size_t>(id))} - std::log(sum), 1}, .top = {}};
  for (const auto& [negative, token] : sorted) {
    out.token.rank += -negative > logits.at(static_cast<std::size_t>(id));
    const int rank = static_cast<int>(out.top.size()) + 1;
    if (rank <= top) out.top.push_back({token, double{-negative} - std::log(sum), rank});
  }
  return out;
}
void check_equal(const engine::Sampled& got, const engine::Sampled& want) {
  CHECK(std::abs(got.token.logprob - want.token.logprob) < 1e-5);
  CHECK(got.token.rank == want.token.rank);
  REQUIRE(got.top.size() == want.top.size());
  for (std::size_t i = 0; i < got.top.size(); ++i) {
    CHECK(got.top[i].id == want.top[i].id);
    CHECK(got.top[i].rank == want.top[i].rank);
    CHECK(std::abs(got.top[i].logprob - want.top[i].logprob) < 1e-5);
  }
}
}  // namespace

TEMPLATE_TEST_CASE("logprobs: of backend and host as they are defined", "", float, bf16, f16) {
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
      const engine::Sampled want = by_definition(logits, std::max(token, 0), alternatives);
      check_equal(engine::logprobs_of(logits, std::max(token, 0), alternatives), want);
      engine::Sampled got = engine::sampled_of(row, token, alternatives, vocab);
      if (token < 0) {
        CHECK(row.rank == 0);
        got.token = want.token;
      }
      check_equal(got, want);
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
