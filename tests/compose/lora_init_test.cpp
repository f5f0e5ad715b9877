#include <lamina/compose/wrap/lora_init.hpp>
#include <lamina/testing/deterministic_weights.hpp>

#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "support/catch.hpp"

namespace {

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(LAMINA_GOLDEN_DIR "/llamafactory/" + path);
  INFO(path);
  REQUIRE(file);
  return nlohmann::json::parse(file);
}

std::uint64_t digest(const std::vector<float>& values) {
  return lamina::testing::fnv1a64({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
}

}  // namespace

TEST_CASE("draw_lora_a: every bit of LLaMA-Factory's initial adapters comes out of the seed") {
  for (const std::string run : {"qwen3_vl_nothink", "vision_lora", "qwen2_vl"}) {
    REQUIRE(read_json(run + "/rng.json")["fresh_before_adapters"] == true);
    lamina::TorchGenerator generator(read_json(run + "/rng.json")["seed"].get<std::uint64_t>());
    const auto tensors = read_json(run + "/adapter.json");
    REQUIRE(tensors.size() >= 56);
    for (std::size_t i = 0; i + 1 < tensors.size(); i += 2) {
      const auto& a = tensors[i]["initial"];
      const auto& b = tensors[i + 1]["initial"];
      const int rank = a["shape"][0].get<int>(), in = a["shape"][1].get<int>(), out = b["shape"][0].get<int>();
      std::vector<float> values(static_cast<std::size_t>(rank) * static_cast<std::size_t>(in));
      lamina::draw_lora_a(generator, in, out, rank, values);
      INFO(run << ": " << tensors[i]["name"]);
      CHECK(digest(values) == a["fnv1a64"].get<std::uint64_t>());
      CHECK(b["norm"] == 0.0);
    }
  }
}
