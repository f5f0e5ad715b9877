#include <lamina/model/qwen3_moe/model.hpp>

#include "model/parity.hpp"

using namespace lamina;
using namespace lamina::testing;

TEST_CASE("Qwen3-MoE: activations, loss, every gradient, ten steps, 64 greedy tokens are transformers'") {
  const Golden golden("parity/qwen3_moe_tiny.safetensors");
  {
    auto weights = rule_weights<qwen3_moe::Qwen3Moe_Tiny>([](std::string_view) { return false; });
    check_full_run(*weights, golden);
    check_ten_steps(*weights, golden, "full", 1e-4);
  }
  const auto weights = rule_weights<qwen3_moe::Qwen3Moe_Tiny>([](std::string_view) { return false; });
  check_greedy(*weights, golden, "text");
  check_balance(*weights, golden);
}
