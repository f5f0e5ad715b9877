#include <lamina/model/qwen3_vl/model.hpp>

#include "cuda/gpu_run.hpp"

using namespace lamina;
using namespace lamina::name;
using namespace qwen_vl::tags;
using namespace lamina::testing;

namespace {
/// One decoder layer and one vision block of the sizes of Qwen3-VL-2B (tests/reference/half_precision.py).
struct TextLayer : qwen3_vl::Text2B {
  static constexpr int num_hidden_layers = 1, vocab_size = 4096;
};
struct VisionLayer : qwen3_vl::Vision2B {
  static constexpr int depth = 1;
  using deepstack_visual_indexes = Indices<0>;
};
struct Layer
    : VisionLanguage<Named<visual, qwen3_vl::VisionModel<VisionLayer>>,
                     Named<language_model, qwen3_vl::TextModel<TextLayer>>, DeepStack<0>, TiedHead<embed_tokens>> {};
struct OnGpu : fused_for<Cuda, Layer> {};
struct AdaptedOnGpu : fused_for<Cuda, LoRA<Layer, Rank<Dyn>, Alpha<Dyn>, Within<language_model>>> {};
}  // namespace

TEST_CASE("a layer of Qwen3-VL-2B on a GPU: bf16 is as near transformers' fp32 as its own bf16 is, within a tenth") {
  check_half_precision<OnGpu, AdaptedOnGpu>(Golden("parity/qwen3_vl_tiny.safetensors"),
                                            "half_precision/qwen3_vl_2b_layer.safetensors");
}
