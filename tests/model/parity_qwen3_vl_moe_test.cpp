#include <lamina/model/qwen3_vl_moe/model.hpp>

#include "model/parity.hpp"

using namespace lamina;
using namespace lamina::testing;

TEST_CASE("Qwen3-VL-MoE: activations, loss, every gradient, ten full steps and greedy tokens are transformers'") {
  const Golden golden("parity/qwen3_vl_moe_tiny.safetensors");
  const auto weights_by_rule = [] {
    return rule_weights<qwen3_vl_moe::Qwen3VLMoe_Tiny>([](std::string_view) { return false; });
  };
  const auto trained = weights_by_rule();
  check_full_run(*trained, golden);
  check_ten_steps(*trained, golden, "full", 1e-4);
  const auto weights = weights_by_rule();
  check_greedy(*weights, golden, "text");
  check_greedy(*weights, golden, "image");
  check_balance(*weights, golden);
}
