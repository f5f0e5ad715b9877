#include <lamina/model/qwen3_vl/model.hpp>

#include "model/parity.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Decoder : LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<Dyn>, Alpha<Dyn>, Within<qwen3_vl::language_model>> {};
struct All : LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<Dyn>, Alpha<Dyn>, AllLinears> {};
const char* const file = "parity/qwen3_vl_tiny.safetensors";
}  // namespace

TEST_CASE("Qwen3-VL LoRA: decoder adapters' losses, gradients and ten steps are transformers'") {
  const Golden golden(file);
  auto weights = rule_weights<Decoder>([](std::string_view) { return true; });
  check_adapter_run(*weights, golden, "decoder");
  check_ten_steps(*weights, golden, "lora", 1e-3);
}

TEST_CASE("Qwen3-VL LoRA: adapters of vision tower, mergers and decoder have transformers' gradients") {
  const Golden golden(file);
  auto weights = rule_weights<All>([](std::string_view path) { return !path.empty(); });
  check_adapter_run(*weights, golden, "all");
}
