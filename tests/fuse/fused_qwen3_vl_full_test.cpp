#include <lamina/model/qwen3_vl/model.hpp>

#include "fuse/fused_run.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Full : fused_for<Cpu, qwen3_vl::Qwen3VL_Tiny> {};
const char* const file = "parity/qwen3_vl_tiny.safetensors";
}  // namespace

TEST_CASE("Fusion: every weight of Qwen3-VL gets the gradient that it gets unfused") { check_fused<Full>(file); }

TEST_CASE("Fusion: one weight gradient for q, k and v, one for gate and up") {
  const auto plain = launches<Full::unfused>(file, "model.language_model.layers"),
             fused = launches<Full>(file, "model.language_model.layers");
  CHECK(plain.at("matmul_bwd_weight") == 4 * 7);
  CHECK(fused.at("matmul_bwd_weight") == 4 * 4);
}

TEST_CASE("Fusion: a fused Qwen3-VL generates what transformers generates") {
  const Golden golden(file);
  const auto weights = rule_weights<Full>([](std::string_view) { return true; });
  check_greedy(*weights, golden, "image");
}
