#include <cstring>

#include <lamina/engine/step/step_work.hpp>

#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::engine;

namespace {
std::string example() {
  static const std::vector<float> first = {1, 2, 3}, second = {4};
  static const std::vector<std::byte> inputs(300, std::byte{7});
  LoadedAdapter adapter;
  adapter.layers = std::make_shared<const checkpoint::AdapterLayers>(
      checkpoint::AdapterLayers{{"q_proj", {.rank = 2, .scale = 0.5f, .a = {1, 2}, .b = {3, 4, 5, 6}}}});
  StepWork work;
  work.adapters = {{3, std::make_shared<const LoadedAdapter>(adapter)}};
  work.images = {
      .grids = {{1, 2, 4}, {1, 6, 2}}, .patches = {first, second}, .to = {5, 6, 7}, .adapter_slots = {-1, 0}};
  work.sizes = {.sequences = 3, .tokens = 9, .sampled = 2, .visuals = 1, .edits = 4, .adapted = 9};
  work.shape = {.tokens = 9, .singles = 1, .chunks = 2, .sampled = 2, .visuals = 1, .scored = 3};
  work.recorded_rows = 8, work.edits = 4, work.inputs = inputs;
  return message_of(work);
}
}  // namespace

TEST_CASE("StepWork: what a message says is what was put into it") {
  const ReceivedWork received(example());
  const StepWork& work = received.work;
  REQUIRE(received.adapters.size() == 1);
  CHECK(received.adapters[0].first == 3);
  const checkpoint::AdapterLayer& layer = received.adapters[0].second.at("q_proj");
  CHECK(layer.rank == 2);
  CHECK(layer.scale == 0.5f);
  CHECK(layer.a == std::vector<float>{1, 2});
  CHECK(layer.b == std::vector<float>{3, 4, 5, 6});
  CHECK(work.images.grids == std::vector<Grid>{{1, 2, 4}, {1, 6, 2}});
  REQUIRE(work.images.patches.size() == 2);
  CHECK(std::vector(work.images.patches[0].begin(), work.images.patches[0].end()) == std::vector<float>{1, 2, 3});
  CHECK(work.images.to == std::vector<int>{5, 6, 7});
  CHECK(work.images.adapter_slots == std::vector<int>{-1, 0});
  CHECK(work.sizes.adapted == 9);
  CHECK(work.shape.scored == 3);
  CHECK(work.recorded_rows == 8);
  CHECK(work.edits == 4);
  CHECK(std::vector(work.inputs.begin(), work.inputs.end()) == std::vector<std::byte>(300, std::byte{7}));
}

TEST_CASE("StepWork: a message that is cut off is an error, wherever") {
  const std::string whole = example();
  for (std::size_t length = 0; length < whole.size(); ++length)
    CHECK(lamina::testing::contains(lamina::testing::error_of([&] { ReceivedWork(whole.substr(0, length)); }),
                                    "cut off"));
}
