#pragma once
#include <lamina/compose.hpp>  // Named, Chain, Residual, Stack, TextOnly, LoRA
#include <lamina/layer.hpp>    // every layer type
#include <lamina/model/qwen3/sizes.hpp>
#include <lamina/model/qwen_vl/tags.hpp>

/// Qwen3, dense: a decoder without a tower. Its layers are those of Qwen3-VL's language model with text's own rotation.
namespace lamina::qwen3 {
using namespace lamina::name;
using namespace qwen_vl::tags;
// clang-format off
template <class C, class Mask, int Q = C::num_attention_heads * C::head_dim, int KV = C::num_key_value_heads * C::head_dim>
struct SelfAttention : Attention<
    Heads<C::num_attention_heads, C::num_key_value_heads, C::head_dim>, Mask, RoPE<C::rope_theta>,
    Named<q_proj, Linear<C::hidden_size, Q>>,  Named<q_norm, RMSNorm<C::head_dim>>,
    Named<k_proj, Linear<C::hidden_size, KV>>, Named<k_norm, RMSNorm<C::head_dim>>,
    Named<v_proj, Linear<C::hidden_size, KV>>, Named<o_proj, Linear<Q, C::hidden_size>>> {};
template <class C>
struct DecoderMLP : SwiGLU<Named<gate_proj, Linear<C::hidden_size, C::intermediate_size>>,
                           Named<up_proj,   Linear<C::hidden_size, C::intermediate_size>>,
                           Named<down_proj, Linear<C::intermediate_size, C::hidden_size>>> {};
/// Mask: Causal, or Sliding<window> if config.json's layer_types say sliding_attention.
template <class C, class Mask = Causal>
struct DecoderLayer : Chain<
    Residual<Named<input_layernorm,          RMSNorm<C::hidden_size>>, Named<self_attn, SelfAttention<C, Mask>>>,
    Residual<Named<post_attention_layernorm, RMSNorm<C::hidden_size>>, Named<mlp,       DecoderMLP<C>>>> {};
template <class C, class Stack_ = Stack<layers, C::num_hidden_layers, DecoderLayer<C>>>
struct Decoder : Chain<Named<embed_tokens, Embedding<C::vocab_size, C::hidden_size>>, Stack_,
                       Named<norm, RMSNorm<C::hidden_size>>> {};
template <class C, class Head = TiedHead<embed_tokens, lm_head>>
struct Qwen3 : TextOnly<Decoder<C>, Head> {};
template <class C>
using UntiedHead = OwnHead<lm_head, Linear<C::hidden_size, C::vocab_size>>;

struct Qwen3_0_6B : Qwen3<Text0_6B> {};
struct Qwen3_1_7B : Qwen3<Text1_7B> {};
struct Qwen3_4B   : Qwen3<Text4B> {};
struct Qwen3_8B   : Qwen3<Text8B, UntiedHead<Text8B>> {};
struct Qwen3_Tiny : Qwen3<TextTiny> {};
// clang-format on

static_assert(param_count<Qwen3_0_6B> == 596'049'920);
static_assert(param_count<Qwen3_1_7B> == 1'720'574'976);
static_assert(param_count<Qwen3_4B> == 4'022'468'096);
static_assert(param_count<Qwen3_8B> == 8'190'735'360);

}  // namespace lamina::qwen3
