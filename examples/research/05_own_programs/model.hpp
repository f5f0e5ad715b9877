#pragma once
#include <lamina/model/qwen3_vl/model.hpp>

/// A composition of one's own: Qwen3-VL's nano size with norms after attention and MLP, as in OLMo 2, instead of
/// before.
namespace mine {
using namespace lamina;
using namespace lamina::qwen3_vl;
LAMINA_NAME(post_feedforward_layernorm);

template <class C>
struct Layer
    : Chain<Residual<Named<self_attn, TextAttention<C>>, Named<post_attention_layernorm, RMSNorm<C::hidden_size>>>,
            Residual<Named<mlp, TextMLP<C>>, Named<post_feedforward_layernorm, RMSNorm<C::hidden_size>>>> {};
template <class C>
struct Text : Chain<Named<embed_tokens, Embedding<C::vocab_size, C::hidden_size>>,
                    Stack<layers, C::num_hidden_layers, Layer<C>>, Named<norm, RMSNorm<C::hidden_size>>> {};
struct PostNorm : VisionLanguage<Named<visual, VisionModel<VisionNano>>, Named<language_model, Text<TextNano>>,
                                 DeepStack<0, 1, 2>, TiedHead<embed_tokens>> {};
}  // namespace mine
