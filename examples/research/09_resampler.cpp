// A projector with rows of its own: a perceiver resampler makes K tokens of an image, whatever its size. The model is
// checked, trained on one image and asked about it.
#include <algorithm>
#include <iostream>

#include <lamina/engine/single_sequence.hpp>
#include <lamina/fuse/describe.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/gradient_check.hpp>
#include <lamina/testing/overfit.hpp>
#include <lamina/testing/random_batch.hpp>

using namespace lamina;
using namespace lamina::qwen3_vl;
LAMINA_NAME(query);
LAMINA_NAME(norm_kv);
LAMINA_NAME(resampler);

/// K learned queries look at the patches of an image; what they find is projected to the language model's width.
template <int K, int D, int W>
struct Queries : Chain<Named<query, Latents<K, D>>, Named<q_proj, Linear<D, W>>> {};
template <int D, int W>
struct Keys : Chain<Named<norm_kv, LayerNorm<D>>, Fork<Named<k_proj, Linear<D, W>>, Named<v_proj, Linear<D, W>>>> {};
template <int K, int In, int Out, int H, int Dh, int W = H* Dh>
struct Resampler : Cross<Heads<H, H, Dh>, Queries<K, Out, W>, Keys<In, W>,
                         Chain<Named<o_proj, Linear<W, Out>>, Named<norm, LayerNorm<Out>>>> {};

struct VisionSmall : VisionNano {
  static constexpr int num_heads = 2, hidden_size = 32, depth = 2, intermediate_size = 64;
};
struct TextSmall : TextNano {
  static constexpr int hidden_size = 48, num_hidden_layers = 2, intermediate_size = 64;
  static constexpr int num_attention_heads = 2, num_key_value_heads = 1, head_dim = 16;
  using mrope_section = Section<4, 2, 2>;
};
template <class V, class T, int K>
struct Tower
    : Chain<Named<patch_embed, PatchEmbed<V::in_channels, V::temporal_patch_size, V::patch_size, V::hidden_size>>,
            Named<pos_embed, LearnedPosition<V::num_position_embeddings, V::hidden_size>>,
            Stack<blocks, V::depth, VisionBlock<V>>,
            Named<resampler, Resampler<K, V::hidden_size, T::hidden_size, 2, 16>>> {};
struct Model : VisionLanguage<Named<visual, Tower<VisionSmall, TextSmall, 5>>,
                              Named<language_model, TextModel<TextSmall>>, DeepStack<>, TiedHead<embed_tokens>> {};

static_assert(Model::visual_tokens(Grid{1, 4, 6}) == 5 && Model::visual_tokens(Grid{1, 12, 9}) == 5);
struct Adapted : LoRA<Model, Rank<2>, Alpha<4>, Targets<q_proj>> {};  // in decoder and resampler
static_assert(trainable_count<Adapted> == 2 * 2 * (48 + 32) + 2 * (48 + 32));
static_assert(std::same_as<merged_t<Adapted>, Model>);

/// The likeliest next tokens after a prompt.
std::vector<int> answer(const Weights<Model, float>& weights, const Batch& prompt, int image_token, int tokens) {
  Device<Cpu> device;
  engine::SingleSequence<Model> sequence(device, weights, image_token, 64, prompt.grids[0].patches());
  std::vector<int> ids;
  std::vector<float> logits = sequence.prefill(prompt);
  for (int n = 0; n < tokens; ++n) {
    ids.push_back(static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    logits = sequence.decode(ids.back());
  }
  return ids;
}

int main() {
  std::cout << describe<Adapted>();
  const auto gradients = testing::check_gradients<Resampler<5, 12, 8, 2, 4>>();
  std::cout << gradients.text();

  auto weights = initialised<Model>(1);
  constexpr int image_token = Model::vocab_size - 1;
  const Batch batch = testing::random_batch<Model>({1, 4, 6}, 8, image_token, 1);
  const std::vector<double> losses = testing::overfit(weights, batch, image_token, 40, {.learning_rate = 3e-3});
  std::cout << "loss " << losses.front() << ", after " << losses.size() << " steps " << losses.back() << "\n";

  Batch prompt = batch;  // the image alone: the eight tokens behind it were learned
  prompt.ids.resize(5);
  prompt.labels.clear(), prompt.loss_weights.clear();
  prompt.cu_seqlens = {0, 5};
  const std::vector<int> ids = answer(weights, prompt, image_token, 8);
  const bool learned = std::equal(ids.begin(), ids.end(), batch.ids.begin() + 5);
  std::cout << (learned ? "says what it learned\n" : "says something else\n");
  return gradients.passed() && losses.back() < losses.front() && learned ? 0 : 1;
}
