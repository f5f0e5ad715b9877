// A Python module with Qwen3-VL's nano size and a model of one's own: another activation in its vision tower, other
// sizes.
#include <lamina/model/qwen3_vl/model.hpp>

#include "bind_model.hpp"

using namespace lamina;
using namespace lamina::qwen3_vl;

struct TextMine : TextNano {
  static constexpr int num_hidden_layers = 3, intermediate_size = 256;
};
/// LayerNorm where Qwen3-VL has RMSNorm.
template <class C>
struct MyLayer : Chain<Residual<Named<input_layernorm, LayerNorm<C::hidden_size>>, Named<self_attn, TextAttention<C>>>,
                       Residual<Named<post_attention_layernorm, LayerNorm<C::hidden_size>>, Named<mlp, TextMLP<C>>>> {};
template <class C>
struct MyText : Chain<Named<embed_tokens, Embedding<C::vocab_size, C::hidden_size>>,
                      Stack<layers, C::num_hidden_layers, MyLayer<C>>, Named<norm, RMSNorm<C::hidden_size>>> {};
struct Mine : VisionLanguage<Named<visual, VisionModel<VisionNano>>, Named<language_model, MyText<TextMine>>,
                             DeepStack<0, 1, 2>, TiedHead<embed_tokens, lm_head>> {};

NB_MODULE(my_models, module) {
  python::bind_model<Qwen3VL_Nano>(module, "Nano");
  python::bind_model<Mine>(module, "Mine");
}
