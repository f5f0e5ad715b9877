#include <lamina/model/qwen3_vl/model.hpp>

#include "fuse/fused_run.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Decoder : fused_for<Cpu, LoRA<qwen3_vl::Qwen3VL_Tiny, Rank<Dyn>, Alpha<Dyn>, Within<qwen3_vl::language_model>>> {
};
const char* const file = "parity/qwen3_vl_tiny.safetensors";
const char* const layers = "model.language_model.layers";
}  // namespace

TEST_CASE("Fusion: adapters of Qwen3-VL get the loss and gradients that they get unfused") {
  check_fused<Decoder>(file);
}

TEST_CASE("Fusion: a fused Qwen3-VL still agrees with transformers and peft") {
  const Golden golden(file);
  auto weights = rule_weights<Decoder>([](std::string_view) { return true; });
  check_adapter_run(*weights, golden, "decoder");
}

TEST_CASE("Fusion: what four decoder layers of Qwen3-VL launch in a training step with adapters") {
  auto plain = launches<Decoder::unfused>(file, layers), fused = launches<Decoder>(file, layers);
  // forward: W, A and B of seven linears; backward: A x again
  CHECK(plain["matmul_fwd"] == 4 * (3 * 7 + 7));
  CHECK(fused["matmul_fwd"] == 4 * (4 + 2 * 7 + 7));  // q, k and v are one product, gate and up another
  // dy W and dh A into dx, dy B into dh; below the first layer nothing learns, so q, k and v want no dx there
  CHECK(plain["matmul_bwd_input"] == 4 * 3 * 7 - 2 * 3);
  CHECK(fused["matmul_bwd_input"] == 4 * (4 + 2 * 7) - (1 + 3));
  CHECK(plain["matmul_bwd_weight"] == 4 * 2 * 7);
  CHECK(fused["matmul_bwd_weight"] == 4 * 2 * 7);
  CHECK(plain["add"] == 4 * (2 + 2 + 2 + 1) - 3);  // residuals forward and backward, dx of k and v, dx of up
  CHECK(fused["add"] == 4);                        // y = s + body2
  CHECK(plain["rms_norm_fwd"] == 4 * 2);
  CHECK(fused["rms_norm_fwd"] == 4);
  CHECK(fused["add_rms_norm_fwd"] == 4);
  CHECK(plain["rms_norm_bwd"] == 4 * 2 - 1);
  CHECK(fused["rms_norm_bwd"] == 0);
  CHECK(fused["add_rms_norm_bwd"] == 4 * 2 - 1);
  CHECK(plain["silu_gate_fwd"] == 4);
  CHECK(fused["silu_gate_fwd"] == 4 * 2);  // once more in backward, for the activations that are not saved
}
