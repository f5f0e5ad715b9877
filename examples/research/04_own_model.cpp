// A model of one's own: Qwen3-VL with OLMo 2's decoder layer, small. Its plan, its wrappers, its first steps.
#include <iostream>

#include <lamina/fuse/describe.hpp>
#include <lamina/kernel/cpu.hpp>
#include <lamina/lamina.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/testing/gradient_check.hpp>
#include <lamina/testing/overfit.hpp>
#include <lamina/testing/random_batch.hpp>

using namespace lamina;
using namespace lamina::qwen3_vl;
LAMINA_NAME(post_feedforward_layernorm);

struct TextSmall : TextNano {
  static constexpr int hidden_size = 32, num_hidden_layers = 3, intermediate_size = 48;
  static constexpr int num_attention_heads = 2, num_key_value_heads = 1, head_dim = 16;
  using mrope_section = Section<4, 2, 2>;
};
struct VisionSmall : VisionNano {
  static constexpr int depth = 3, out_hidden_size = TextSmall::hidden_size;
  using deepstack_visual_indexes = Indices<0, 1, 2>;
};

/// Norms after attention and MLP, inside the residual branch, instead of before them.
/// source      OLMo 2, arXiv:2501.00656, reordered norm; names as in transformers' Olmo2DecoderLayer
template <class C>
struct PostNormLayer
    : Chain<Residual<Named<self_attn, TextAttention<C>>, Named<post_attention_layernorm, RMSNorm<C::hidden_size>>>,
            Residual<Named<mlp, TextMLP<C>>, Named<post_feedforward_layernorm, RMSNorm<C::hidden_size>>>> {};
template <class C>
struct PostNormText
    : Chain<Named<embed_tokens, Embedding<C::vocab_size, C::hidden_size>>,
            Stack<layers, C::num_hidden_layers, PostNormLayer<C>>, Named<norm, RMSNorm<C::hidden_size>>> {};
struct Model : VisionLanguage<Named<visual, VisionModel<VisionSmall>>, Named<language_model, PostNormText<TextSmall>>,
                              DeepStack<0, 1, 2>, TiedHead<embed_tokens, lm_head>> {};

struct Adapted : LoRA<Model, Rank<4>, Alpha<8>, Targets<q_proj, v_proj>> {};
struct Lean : RecomputeUnder<FreezeUnder<Model, visual>, language_model> {};
static_assert(std::same_as<merged_t<Adapted>, Model>);
static_assert(param_count<Adapted> == param_count<Model> + trainable_count<Adapted>);
static_assert(trainable_count<Lean> == param_count<PostNormText<TextSmall>>);
static_assert(saved_bytes_per_patch<Lean> == 0 && saved_bytes_per_token<Lean> < saved_bytes_per_token<Model>);

int main() {
  std::cout << describe<Adapted>();
  for_each_tensor<Adapted>([](const TensorSpec& tensor) {
    if (tensor.path.view().find("layers.0.") != std::string_view::npos) std::cout << tensor.path.view() << "\n";
  });
  const auto gradients = testing::check_gradients<PostNormLayer<TextSmall>>();
  std::cout << gradients.text();

  auto weights = initialised<Lean>(1);
  constexpr int image_token = Model::vocab_size - 1;
  const Batch batch = testing::random_batch<Lean>({1, 4, 4}, 8, image_token, 1);
  const std::vector<double> losses = testing::overfit(weights, batch, image_token, 5, {.learning_rate = 1e-3});
  for (const double loss : losses) std::cout << "loss " << loss << "\n";
  return gradients.passed() && losses.back() < losses.front() ? 0 : 1;
}
