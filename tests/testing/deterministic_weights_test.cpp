#include <lamina/testing/deterministic_weights.hpp>

#include <bit>
#include <fstream>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"

using namespace lamina::testing;

TEST_CASE("deterministic weights: every bit equals the reference program's") {
  std::ifstream file(LAMINA_GOLDEN_DIR "/testing/deterministic_weights.json");
  const auto golden = nlohmann::json::parse(file);
  REQUIRE(golden.size() >= 10);
  for (const auto& tensor : golden) {
    const auto name = tensor["name"].get<std::string>();
    const auto shape = tensor["shape"].get<std::vector<std::int64_t>>();
    std::size_t size = 1;
    for (const std::int64_t extent : shape) size *= static_cast<std::size_t>(extent);
    std::vector<float> values(size);
    fill_deterministic(name, shape, values);
    INFO(name);
    for (std::size_t k = 0; k < tensor["index"].size(); ++k) {
      const auto i = tensor["index"][k].get<std::size_t>();
      CHECK(std::bit_cast<std::uint32_t>(values[i]) == tensor["bits"][k].get<std::uint32_t>());
      CHECK(deterministic_value(name, shape, i) == values[i]);
    }
    std::uint32_t all = 0;
    for (const float value : values) all ^= std::bit_cast<std::uint32_t>(value);
    CHECK(all == tensor["xor_of_bits"].get<std::uint32_t>());
  }
}

TEST_CASE("deterministic weights: names start different streams") {
  CHECK(fnv1a64("a") == 0xAF63DC4C8601EC8Cu);   // the published FNV-1a vector
  CHECK(splitmix64(0) == 0xE220A8397B1DCDAFu);  // the published first output of SplitMix64 seeded with 0
  CHECK(deterministic_unit(fnv1a64("layers.0"), 0) != deterministic_unit(fnv1a64("layers.1"), 0));
}
