#include "fuse/stream_run.hpp"

using namespace lamina;
using namespace lamina::testing;

namespace {
struct Qwen3VL : qwen3_vl::Qwen3VL_Tiny {};
struct Qwen2_5VL : qwen2_5_vl::Qwen2_5VL_Tiny {};

template <class Model>
void check_same_bits(const char* file) {
  struct Held : ScaledStream<Model, -8> {};
  struct Plain : fused_for<Cpu, Model> {};
  struct Fused : fused_for<Cpu, Held> {};
  static_assert(param_count<Fused> == param_count<Model> && Fused::head_scale == 256 && Plain::head_scale == 1);
  Device<Cpu> host;
  const Golden golden(file);
  CHECK(answer_on<Fused, float>(host, golden, 0, 4) == answer_on<Plain, float>(host, golden, 0, 4));
}

/// The tensors that are scaled, and by what.
template <class Model>
std::map<std::string, int> exponents(std::string_view prefix) {
  std::map<std::string, int> out;
  for_each_tensor<Model>([&](const TensorSpec& spec) {
    if (spec.exponent != 0 && spec.path.view().starts_with(prefix))
      out.emplace(spec.path.view().substr(prefix.size()), spec.exponent);
  });
  return out;
}
}  // namespace

TEST_CASE("ScaledStream: what writes to a stream is scaled, once") {
  using Held = ScaledStream<Qwen2_5VL, -8>;
  CHECK(exponents<Held>("model.language_model.layers.0.") ==
        std::map<std::string, int>{{"self_attn.o_proj.weight", -8}, {"mlp.up_proj.weight", -8}});
  CHECK(exponents<Held>("model.language_model.embed").size() == 1);
  CHECK(exponents<Held>("model.visual.blocks.0.") == std::map<std::string, int>{{"attn.proj.weight", -8},
                                                                                {"attn.proj.bias", -8},
                                                                                {"mlp.up_proj.weight", -8},
                                                                                {"mlp.up_proj.bias", -8},
                                                                                {"mlp.down_proj.bias", -8}});
  CHECK(exponents<Held>("model.visual.merger.") ==
        std::map<std::string, int>{{"mlp.2.weight", -8}, {"mlp.2.bias", -8}});
}

TEST_CASE("ScaledStream: fp32 logits are the same bit for bit") {
  SECTION("qwen3_vl") { check_same_bits<Qwen3VL>(file3); }
  SECTION("qwen2_5_vl") { check_same_bits<Qwen2_5VL>(file2_5); }
}

TEST_CASE("ScaledStream: where a stream outgrows fp16, fp16 without it is not finite and with it gives fp32's tokens") {
  Device<Cpu> host;
  SECTION("qwen3_vl") { check_grown_stream<OwnHead3>(host, file3); }
  SECTION("qwen2_5_vl") { check_grown_stream<OwnHead2_5>(host, file2_5); }
}
