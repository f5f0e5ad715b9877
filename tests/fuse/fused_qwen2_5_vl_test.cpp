#include <lamina/model/qwen2_5_vl/model.hpp>

#include "fuse/fused_run.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct All : fused_for<Cpu, LoRA<qwen2_5_vl::Qwen2_5VL_Tiny, Rank<Dyn>, Alpha<Dyn>, AllLinears>> {};
const char* const file = "parity/qwen2_5_vl_tiny.safetensors";
}  // namespace

TEST_CASE("Fusion: adapters of Qwen2.5-VL, in both towers and with biases, get the gradients that they get unfused") {
  check_fused<All>(file);
}
