#include <lamina/model/qwen3_vl/model.hpp>

#include "cuda/gpu_run.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
using Base = qwen3_vl::Qwen3VL_Tiny;
using Adapted = LoRA<Base, Rank<Dyn>, Alpha<Dyn>, Within<qwen3_vl::language_model>>;
struct PlainAdapted : Adapted {};
struct PlainEverywhere : LoRA<Base, Rank<Dyn>, Alpha<Dyn>, AllLinears> {};
struct PlainFull : Base {};
template <class Plain>
struct OnGpu : fused_for<Cuda, Plain> {};
struct Recomputed : RecomputeUnder<OnGpu<PlainAdapted>, qwen3_vl::language_model> {};
const char* const file = "parity/qwen3_vl_tiny.safetensors";
}  // namespace

TEST_CASE("qwen3_vl on a GPU: fp32 losses and gradients are the CPU's") {
  SECTION("adapters of the decoder") { check_fp32<PlainAdapted, OnGpu<PlainAdapted>>(file); }
  SECTION("adapters everywhere") { check_fp32<PlainEverywhere, OnGpu<PlainEverywhere>>(file); }
  SECTION("full") { check_fp32<PlainFull, OnGpu<PlainFull>>(file); }
}

TEST_CASE("qwen3_vl on a GPU: two deterministic bf16 runs are bit-equal, and so is one that recomputes") {
  check_repeats<OnGpu<PlainAdapted>, Recomputed>(file);
}

TEST_CASE("qwen3_vl on a GPU: bf16 is as near transformers' fp32 as its own bf16 is, within a tenth") {
  check_half_precision<OnGpu<Base>, OnGpu<PlainAdapted>>(Golden(file), "half_precision/qwen3_vl_tiny.safetensors");
}

TEST_CASE("qwen3_vl on a GPU: 64 greedy tokens in fp32 are transformers'") {
  const Golden golden(file);
  for (const char* kind : {"text", "image"})
    CHECK(greedy_on_gpu<OnGpu<Base>, float>(golden, kind) == golden.ints(std::string("generate.") + kind + ".tokens"));
}
