// expect: Chain: the first layer's Out is not the second layer's In
#include <lamina/model/qwen3_vl/model.hpp>
using namespace lamina;
using namespace lamina::qwen3_vl;
template <class C>
struct MLPOfAnotherWidth : SwiGLU<Named<gate_proj, Linear<C::hidden_size, C::intermediate_size>>,
                                  Named<up_proj, Linear<C::hidden_size, C::intermediate_size>>,
                                  Named<down_proj, Linear<C::intermediate_size + 1, C::hidden_size>>> {};
template <class C>
struct Layer : Chain<Residual<Named<input_layernorm, RMSNorm<C::hidden_size>>, Named<self_attn, TextAttention<C>>>,
                     Residual<Named<post_attention_layernorm, RMSNorm<C::hidden_size>>, Named<mlp, MLPOfAnotherWidth<C>>>> {};
struct Model : Stack<layers, 2, Layer<TextTiny>> {};
