#include <lamina/core/random/torch.hpp>

#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"

using lamina::TorchGenerator;

namespace {

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(LAMINA_GOLDEN_DIR "/llamafactory/" + path);
  INFO(path);
  REQUIRE(file);
  return nlohmann::json::parse(file);
}

}  // namespace

TEST_CASE("TorchGenerator: randperm gives torch.randperm's order") {
  CHECK(TorchGenerator(42).randperm(10) == std::vector<int>{2, 6, 1, 8, 4, 5, 0, 9, 3, 7});
  CHECK(TorchGenerator(43).randperm(10) == std::vector<int>{8, 4, 9, 0, 5, 1, 6, 7, 2, 3});
  const std::vector<int> order = TorchGenerator(42).randperm(1096);
  CHECK(std::vector<int>(order.begin(), order.begin() + 5) == std::vector<int>{1078, 48, 800, 1087, 190});
  CHECK(TorchGenerator(42).randperm(1) == std::vector<int>{0});
  CHECK(TorchGenerator(42).randperm(0).empty());
}

TEST_CASE("TorchGenerator: each epoch of LLaMA-Factory is randperm of seed + epoch") {
  for (const std::string run : {"qwen3_vl_nothink", "vision_lora"}) {
    const auto seed = read_json(run + "/rng.json")["seed"].get<std::uint64_t>();
    const auto fed = read_json(run + "/order.json").get<std::vector<int>>();
    const auto samples = read_json(run + "/samples.json").size();
    std::vector<int> expected;
    for (std::uint64_t epoch = 0; expected.size() < fed.size(); ++epoch) {
      const std::vector<int> order = TorchGenerator(seed + epoch).randperm(static_cast<int>(samples));
      expected.insert(expected.end(), order.begin(), order.end());
    }
    INFO(run);
    CHECK(fed == expected);
  }
}
