#include <lamina/model/qwen3/model.hpp>

#include "model/parity.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
using Full = qwen3::DecoderLayer<qwen3::TextTiny>;
using Local = qwen3::DecoderLayer<qwen3::TextTiny, Sliding<8>>;
struct Windows : TextOnly<qwen3::Decoder<qwen3::TextTiny, Layers<qwen3::layers, Full, Full, Local, Local>>,
                          TiedHead<qwen3::embed_tokens, qwen3::lm_head>> {};
}  // namespace

TEST_CASE("Qwen3: activations, loss, every gradient and ten full steps are transformers'") {
  const Golden golden("parity/qwen3_tiny.safetensors");
  auto weights = rule_weights<qwen3::Qwen3_Tiny>([](std::string_view) { return false; });
  check_full_run(*weights, golden);
  check_ten_steps(*weights, golden, "full", 1e-4);
}

TEST_CASE("Qwen3: adapters' losses, gradients and ten steps are PEFT's") {
  const Golden golden("parity/qwen3_tiny.safetensors");
  using Adapted = LoRA<qwen3::Qwen3_Tiny, Rank<Dyn>, Alpha<Dyn>, AllLinears>;
  auto weights = rule_weights<Adapted>([](std::string_view) { return true; });
  check_adapter_run(*weights, golden, "decoder");
  check_ten_steps(*weights, golden, "lora", 1e-3);
}

TEST_CASE("Qwen3: 64 greedy tokens are transformers'") {
  const Golden golden("parity/qwen3_tiny.safetensors");
  const auto weights = rule_weights<qwen3::Qwen3_Tiny>([](std::string_view) { return false; });
  check_greedy(*weights, golden, "text");
}

TEST_CASE("Layers with a window: activations, gradients, ten steps and 64 greedy tokens are transformers'") {
  const Golden golden("parity/qwen3_window_tiny.safetensors");
  {
    auto weights = rule_weights<Windows>([](std::string_view) { return false; });
    check_full_run(*weights, golden);
    check_ten_steps(*weights, golden, "full", 1e-4);
  }
  const auto weights = rule_weights<Windows>([](std::string_view) { return false; });
  check_greedy(*weights, golden, "text");
}
