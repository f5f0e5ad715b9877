#include <lamina/model/qwen3_vl/model.hpp>

#include "model/parity.hpp"

using namespace lamina;
using namespace lamina::testing;

TEST_CASE("Qwen3-VL: activations, loss, every gradient and ten full steps are transformers'") {
  const Golden golden("parity/qwen3_vl_tiny.safetensors");
  auto weights = rule_weights<qwen3_vl::Qwen3VL_Tiny>([](std::string_view) { return false; });
  check_full_run(*weights, golden);
  check_ten_steps(*weights, golden, "full", 1e-4);
}

TEST_CASE("Qwen3-VL: 64 greedy tokens are transformers', with and without an image") {
  const Golden golden("parity/qwen3_vl_tiny.safetensors");
  const auto weights = rule_weights<qwen3_vl::Qwen3VL_Tiny>([](std::string_view) { return false; });
  check_greedy(*weights, golden, "text");
  check_greedy(*weights, golden, "image");
}
