// A projector of one's own in Qwen3-VL: the rest of the model is frozen, so only the projector is trained.
#include <iostream>

#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl.hpp>
#include <lamina/train/optimizer.hpp>
#include <lamina/train/step.hpp>

using namespace lamina;
using namespace lamina::qwen3_vl;

/// Joins M x M patches as PatchMerger does, but through a gated MLP.
template <class V, int M = V::spatial_merge_size, int W = V::hidden_size * M * M, int F = 2 * V::out_hidden_size>
struct GatedProjector : Chain<JoinRows<M * M, V::hidden_size>, Named<norm, RMSNorm<W>>,
                              SwiGLU<Named<gate_proj, Linear<W, F>>, Named<up_proj, Linear<W, F>>,
                                     Named<down_proj, Linear<F, V::out_hidden_size>>>> {};

template <class V>
struct Tower : Chain<Named<patch_embed, PatchEmbed<V::in_channels, V::temporal_patch_size, V::patch_size, V::hidden_size>>,
                     Named<pos_embed, LearnedPosition<V::num_position_embeddings, V::hidden_size>>,
                     Tapped<typename V::deepstack_visual_indexes, Stack<blocks, V::depth, VisionBlock<V>>,
                            deepstack_merger_list, PatchMerger<V, NormAt::merged>>> {};

template <class V, class T>
struct WithProjector : VisionLanguage<Named<visual, Chain<Frozen<Tower<V>>, Named<merger, GatedProjector<V>>>>,
                                      Named<language_model, Frozen<TextModel<T>>>, DeepStack<0, 1, 2>,
                                      TiedHead<embed_tokens>> {};

struct Model : WithProjector<VisionTiny, TextTiny> {};
static_assert(trainable_count<Model> == param_count<GatedProjector<VisionTiny>>);

/// A picture of 4 x 4 random patches, which are four tokens, and five tokens to say about it.
Batch random_batch(int image_token) {
  Batch batch;
  batch.ids = {7, image_token, image_token, image_token, image_token, 11, 23, 5, 42, 19};
  batch.labels = batch.ids;
  for (int n = 0; n < 6; ++n) batch.labels[n] = ignored_label;
  batch.loss_weights.assign(batch.ids.size(), 0.25f);
  batch.cu_seqlens = {0, static_cast<int>(batch.ids.size())};
  batch.grids = {{1, 4, 4}};
  TorchGenerator random(1);
  for (int i = 0; i < 16 * Model::patch_width; ++i) batch.patches.push_back(random.uniform(-1, 1));
  return batch;
}

int main() {
  Weights<Model, float> weights([](const TensorSpec&) { return Weights<Model, float>::Choice{}; });
  weights.allocate(true);
  initialise(weights, 1);
  for (const TensorSlot& slot : weights.slots())
    if (slot.learns) std::cout << "trains " << slot.name() << "\n";

  constexpr int image_token = Model::vocab_size - 1;
  const Batch batch = random_batch(image_token);
  train::Step<Model> step;
  train::Optimizer optimizer(weights.learning_count());
  const double before = step.accumulate(weights, batch, image_token, 0).loss;
  optimizer.update(weights, AdamW{.learning_rate = 1e-2}, 1);
  const double after = step.evaluate(weights, batch, image_token).loss;
  std::cout << "loss " << before << ", after one step " << after << "\n";
  return after < before ? 0 : 1;
}
