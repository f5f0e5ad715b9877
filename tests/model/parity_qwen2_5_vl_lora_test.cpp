#include <lamina/model/qwen2_5_vl/model.hpp>

#include "model/parity.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Decoder : LoRA<qwen2_5_vl::Qwen2_5VL_Tiny, Rank<Dyn>, Alpha<Dyn>, Within<qwen2_5_vl::language_model>> {};
struct All : LoRA<qwen2_5_vl::Qwen2_5VL_Tiny, Rank<Dyn>, Alpha<Dyn>, AllLinears> {};
const char* const file = "parity/qwen2_5_vl_tiny.safetensors";
}  // namespace

TEST_CASE("Qwen2.5-VL LoRA: decoder adapters' losses, gradients and ten steps are transformers'") {
  const Golden golden(file);
  auto weights = rule_weights<Decoder>([](std::string_view) { return true; });
  check_adapter_run(*weights, golden, "decoder");
  check_ten_steps(*weights, golden, "lora", 1e-3);
}

TEST_CASE("Qwen2.5-VL LoRA: adapters of vision blocks and decoder have transformers' gradients") {
  const Golden golden(file);
  auto weights = rule_weights<All>([](std::string_view path) { return path.find(".merger.") == path.npos; });
  check_adapter_run(*weights, golden, "all");
}
