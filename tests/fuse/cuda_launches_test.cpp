#include <lamina/fuse.hpp>
#include <lamina/kernel/cuda.hpp>
#include <lamina/model/qwen2_5_vl/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/train/step.hpp>

#include <map>

#include "support/catch.hpp"

/// What the CUDA backend's compositions launch, counted on the Plan backend: no GPU is needed. A fusion that silently
/// stops changes a number here.
using namespace lamina;

namespace {
template <class Base>
struct Decoder : fused_for<Cuda, LoRA<Base, Rank<Dyn>, Alpha<Dyn>, Within<qwen3_vl::language_model>>> {};
template <class Base>
struct Full : fused_for<Cuda, FreezeUnder<Base, qwen3_vl::visual>> {};

using Counts = std::map<std::string, int>;
struct Launches {
  Counts layers, blocks;  ///< of the decoder's four layers and the vision tower's four blocks, by kernel
  int step = 0;           ///< all of them
};

/// Launches of a bf16 training step on two sequences, each with an image.
template <class Model>
Launches launches() {
  const auto at = [](int n) { return reinterpret_cast<std::byte*>(std::uintptr_t{4096} * n); };  // nobody reads there
  Weights<Model, bf16, Cuda> weights([](const TensorSpec&) {
    return typename Weights<Model, bf16, Cuda>::Choice{DType::BF16, 8, true};
  });
  const auto parameters = weights.parameters_at(at(1), reinterpret_cast<float*>(at(2)), reinterpret_cast<float*>(at(3)),
                                                reinterpret_cast<bf16*>(at(4)));
  constexpr int image_token = 7, visual = 16, text = 20;
  Batch batch;
  batch.cu_seqlens = {0};
  for (int s = 0; s < 2; ++s) {
    batch.ids.insert(batch.ids.end(), visual, image_token);
    batch.ids.insert(batch.ids.end(), text, 1);
    batch.grids.push_back({1, 8, 8});
    batch.cu_seqlens.push_back(static_cast<int>(batch.ids.size()));
  }
  batch.labels = batch.ids;
  batch.loss_weights.assign(batch.ids.size(), 1.0f);
  batch.patches.resize(std::size_t{2} * 4 * visual * Model::patch_width);
  Tables<Model> tables;
  PlanRecord record;
  using Step = train::Step<Model, bf16, Cuda>;
  Step::template plan<typename Step::Training>(parameters.data(), tables.template build<bf16>(batch, image_token),
                                               train::LabelledRows(batch), &record);
  Launches out;
  out.step = static_cast<int>(record.launches.size());
  for (const auto& launch : record.launches) {
    const std::string_view path = launch.path;
    if (path.starts_with("model.language_model.layers")) ++out.layers[launch.kernel];
    if (path.starts_with("model.visual.blocks")) ++out.blocks[launch.kernel];
  }
  return out;
}

/// Of every decoder layer, adapted or not: input_layernorm, post_attention_layernorm with the addition before it, q's
/// and k's norm and rotation, attention, the gate (once more in backward, for its output is not saved), y = s + body2.
Counts decoder_layers(Counts products) {
  products.merge(Counts{{"rms_norm_fwd", 4},
                        {"add_rms_norm_fwd", 4},
                        {"norm_rope_fwd", 2 * 4},
                        {"norm_rope_bwd", 2 * 4},
                        {"attention_fwd", 4},
                        {"attention_bwd", 4},
                        {"silu_gate_fwd", 2 * 4},
                        {"silu_gate_bwd", 4},
                        {"add", 4}});
  return products;
}

/// q|k|v, o, gate|up and down: each x A^T and [x t] [W sB]^T, and down's x A^T once more, for its input is not saved;
/// dy s B and [dy dt] [W; A], the last not below the first layer's q|k|v, as nothing learns there; A and B of seven
/// layers. One operand each of o and down, which has no tail, is copied to where there is one.
const Counts adapted = decoder_layers({{"matmul_fwd", (2 * 4 + 1) * 4},
                                       {"matmul_bwd_input", 2 * 4 * 4 - 1},
                                       {"matmul_bwd_weight", 2 * 7 * 4},
                                       {"copy", 2 * 4},
                                       {"add_rms_norm_bwd", 2 * 4 - 1}});
const Counts full = decoder_layers(
    {{"matmul_fwd", 4 * 4}, {"matmul_bwd_input", 4 * 4}, {"matmul_bwd_weight", 4 * 4}, {"add_rms_norm_bwd", 2 * 4}});

/// Of a step on adapters and of one on all of the decoder; the vision tower, which learns nothing, launches the same:
/// its second additions run inside products.
template <class Tiny>
void check_launches(const Counts& blocks, int adapted_step, int full_step) {
  for (const bool adapters : {true, false}) {
    const Launches got = adapters ? launches<Decoder<Tiny>>() : launches<Full<Tiny>>();
    CHECK(got.layers == (adapters ? adapted : full));
    CHECK(got.blocks == blocks);
    CHECK(got.step == (adapters ? adapted_step : full_step));
  }
}
}  // namespace

TEST_CASE("Qwen3-VL for CUDA: what a training step launches") {
  const Counts blocks = {{"layer_norm_fwd", 4}, {"add_layer_norm_fwd", 4}, {"matmul_fwd", 4 * 4},
                         {"norm_rope_fwd", 4},  {"attention_fwd", 4},      {"activation_fwd", 4}};
  check_launches<qwen3_vl::Qwen3VL_Tiny>(blocks, 256, 175);
}

TEST_CASE("Qwen2.5-VL for CUDA: what a training step launches") {
  const Counts blocks = {{"rms_norm_fwd", 4},  {"add_rms_norm_fwd", 4}, {"matmul_fwd", 4 * 4},
                         {"norm_rope_fwd", 4}, {"attention_fwd", 4},    {"silu_gate_fwd", 4}};
  check_launches<qwen2_5_vl::Qwen2_5VL_Tiny>(blocks, 239, 158);
}
