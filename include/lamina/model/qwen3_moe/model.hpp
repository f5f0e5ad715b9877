#pragma once
#include <lamina/model/qwen3/model.hpp>
#include <lamina/model/qwen3_moe/sizes.hpp>

/// Qwen3 with a mixture of experts in place of each MLP: an expert is an MLP like any other, so adapters, fusion and
/// checkpoints see its layers.
namespace lamina::qwen3_moe {
using namespace lamina::name;
using namespace qwen_vl::tags;
LAMINA_NAME(gate);
// clang-format off
template <class C>
struct Expert : SwiGLU<Named<gate_proj, Linear<C::hidden_size, C::moe_intermediate_size>>,
                       Named<up_proj,   Linear<C::hidden_size, C::moe_intermediate_size>>,
                       Named<down_proj, Linear<C::moe_intermediate_size, C::hidden_size>>> {};
template <class C>
struct SparseMLP : Routed<Named<gate, Linear<C::hidden_size, C::num_experts>>, Experts<C::num_experts, Expert<C>>,
                          TopK<C::num_experts_per_tok>> {};
template <class C, class SelfAttention = qwen3::SelfAttention<C, Causal>>
struct DecoderLayer : Chain<
    Residual<Named<input_layernorm,          RMSNorm<C::hidden_size>>, Named<self_attn, SelfAttention>>,
    Residual<Named<post_attention_layernorm, RMSNorm<C::hidden_size>>, Named<mlp,       SparseMLP<C>>>> {};
template <class C, class Head>
struct Qwen3Moe : TextOnly<qwen3::Decoder<C, Stack<layers, C::num_hidden_layers, DecoderLayer<C>>>, Head> {};

struct Qwen3_30B_A3B : Qwen3Moe<Text30B_A3B, qwen3::UntiedHead<Text30B_A3B>> {};
struct Qwen3_235B_A22B : Qwen3Moe<Text235B_A22B, qwen3::UntiedHead<Text235B_A22B>> {};
struct Qwen3Moe_Tiny : Qwen3Moe<TextTiny, TiedHead<embed_tokens, lm_head>> {};
// clang-format on

static_assert(param_count<Qwen3_30B_A3B> == 30'532'122'624);
static_assert(param_count<Qwen3_235B_A22B> == 235'093'634'560);

}  // namespace lamina::qwen3_moe
