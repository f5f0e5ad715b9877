#include <lamina/engine/step/request_rows.hpp>

#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::engine;

namespace {
struct Counting final : TokenMask {
  void fill(std::span<std::uint64_t>) override {}
  void drawn(int) override { ++draws; }
  int draws = 0;
};
}  // namespace

TEST_CASE(
    "RunningRequest: once min_tokens are drawn its sampler goes, and a step that started before may still report") {
  RunningRequest request;
  request.sampler.emplace(SamplingParams{.min_tokens = 2, .ends = {3}}, std::vector<int>{1, 2}, 8);
  request.drew(4);
  CHECK(request.adjusted());
  request.drew(5);
  CHECK_FALSE(request.adjusted());
  request.drew(6);  // of a step that was under way
  CHECK_FALSE(request.adjusted());
}

TEST_CASE("RunningRequest: a sampler whose rules never end hears of every token") {
  const auto mask = std::make_shared<Counting>();
  RunningRequest request;
  request.sampler.emplace(SamplingParams{.mask = mask, .min_tokens = 1}, std::vector<int>{1}, 8);
  for (int token : {4, 5, 6}) request.drew(token);
  CHECK(mask->draws == 3);
  CHECK(request.adjusted());
}
