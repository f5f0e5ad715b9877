// A projector of one's own in Qwen3-VL: the rest of the model is frozen, so only the projector is trained.
#include <iostream>

#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/random_batch.hpp>
#include <lamina/train/step.hpp>
#include <lamina/train/step/optimizer.hpp>

using namespace lamina;
using namespace lamina::qwen3_vl;

/// Joins M x M patches as PatchMerger does, but through a gated MLP.
template <class V, int M = V::spatial_merge_size, int W = V::hidden_size* M* M, int F = 2 * V::out_hidden_size>
struct GatedProjector : Chain<JoinRows<M * M, V::hidden_size>, Named<norm, RMSNorm<W>>,
                              SwiGLU<Named<gate_proj, Linear<W, F>>, Named<up_proj, Linear<W, F>>,
                                     Named<down_proj, Linear<F, V::out_hidden_size>>>> {};

template <class V>
struct Tower
    : Chain<Named<patch_embed, PatchEmbed<V::in_channels, V::temporal_patch_size, V::patch_size, V::hidden_size>>,
            Named<pos_embed, LearnedPosition<V::num_position_embeddings, V::hidden_size>>,
            Tapped<typename V::deepstack_visual_indexes, Stack<blocks, V::depth, VisionBlock<V>>, deepstack_merger_list,
                   PatchMerger<V, NormAt::merged>>> {};

template <class V, class T>
struct WithProjector
    : VisionLanguage<Named<visual, Chain<Frozen<Tower<V>>, Named<merger, GatedProjector<V>>>>,
                     Named<language_model, Frozen<TextModel<T>>>, DeepStack<0, 1, 2>, TiedHead<embed_tokens>> {};

struct Model : WithProjector<VisionTiny, TextTiny> {};
static_assert(trainable_count<Model> == param_count<GatedProjector<VisionTiny>>);

int main() {
  auto weights = initialised<Model>(1);
  for (const TensorSlot& slot : weights.slots())
    if (slot.learns) std::cout << "trains " << slot.name() << "\n";

  constexpr int image_token = Model::vocab_size - 1;
  const Batch batch = testing::random_batch<Model>({1, 4, 4}, 8, image_token, 1);
  train::Step<Model> step;
  train::Optimizer<> optimizer(weights);
  const double before = step.accumulate(weights, batch, image_token, 0).loss;
  optimizer.step(weights, OptimizerSettings{.learning_rate = 1e-3}, 0, {});
  const double after = step.evaluate(weights, batch, image_token).loss;
  std::cout << "loss " << before << ", after one step " << after << "\n";
  return after < before ? 0 : 1;
}
