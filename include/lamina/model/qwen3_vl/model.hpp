#pragma once
#include <lamina/compose.hpp>  // Named, Chain, Residual, Stack, Tapped, VisionLanguage, LoRA
#include <lamina/layer.hpp>    // every layer type
#include <lamina/model/qwen3_vl/sizes.hpp>
#include <lamina/model/qwen_vl/tags.hpp>

/// Qwen3-VL, dense. Each tag in Named<> is the checkpoint's own word, so a path of types is a tensor name:
/// model.language_model.layers.0.self_attn.q_proj.weight
namespace lamina::qwen3_vl {
using namespace lamina::name;  // struct q_proj { static constexpr std::string_view text = "q_proj"; }; and so on
using namespace qwen_vl::tags;
// clang-format off
LAMINA_NAME(pos_embed); LAMINA_NAME(linear_fc1); LAMINA_NAME(linear_fc2); LAMINA_NAME(deepstack_merger_list);

template <class C, int Q = C::num_attention_heads * C::head_dim, int KV = C::num_key_value_heads * C::head_dim>
struct TextAttention : Attention<
    Heads<C::num_attention_heads, C::num_key_value_heads, C::head_dim>, Causal,
    InterleavedMRoPE<C::rope_theta, typename C::mrope_section>,
    Named<q_proj, Linear<C::hidden_size, Q>>,  Named<q_norm, RMSNorm<C::head_dim>>,
    Named<k_proj, Linear<C::hidden_size, KV>>, Named<k_norm, RMSNorm<C::head_dim>>,
    Named<v_proj, Linear<C::hidden_size, KV>>, Named<o_proj, Linear<Q, C::hidden_size>>> {};
template <class C>
struct TextMLP : SwiGLU<Named<gate_proj, Linear<C::hidden_size, C::intermediate_size>>,
                        Named<up_proj,   Linear<C::hidden_size, C::intermediate_size>>,
                        Named<down_proj, Linear<C::intermediate_size, C::hidden_size>>> {};
template <class C>
struct TextDecoderLayer : Chain<
    Residual<Named<input_layernorm,          RMSNorm<C::hidden_size>>, Named<self_attn, TextAttention<C>>>,
    Residual<Named<post_attention_layernorm, RMSNorm<C::hidden_size>>, Named<mlp,       TextMLP<C>>>> {};
template <class C>
struct TextModel : Chain<Named<embed_tokens, Embedding<C::vocab_size, C::hidden_size>>,
                         Stack<layers, C::num_hidden_layers, TextDecoderLayer<C>>,
                         Named<norm, RMSNorm<C::hidden_size>>> {};
template <class V>
struct VisionAttention : Attention<
    Heads<V::num_heads, V::num_heads, V::hidden_size / V::num_heads>, Bidirectional, RoPE2D,
    Named<qkv,  Linear<V::hidden_size, 3 * V::hidden_size, Bias>>,
    Named<proj, Linear<V::hidden_size, V::hidden_size, Bias>>> {};
template <class V>
struct VisionMLP : MLP<Named<linear_fc1, Linear<V::hidden_size, V::intermediate_size, Bias>>, GeluTanh,
                       Named<linear_fc2, Linear<V::intermediate_size, V::hidden_size, Bias>>> {};
template <class V>
struct VisionBlock : Chain<Residual<Named<norm1, LayerNorm<V::hidden_size>>, Named<attn, VisionAttention<V>>>,
                           Residual<Named<norm2, LayerNorm<V::hidden_size>>, Named<mlp,  VisionMLP<V>>>> {};

/// Joins each M x M square of patches into one token of the language model's width.
template <class V, NormAt Where, int M = V::spatial_merge_size, int W = V::hidden_size * M * M>
struct PatchMerger : Merger<M, Where, Named<norm, LayerNorm<Where == NormAt::merged ? W : V::hidden_size>>,
                            Named<linear_fc1, Linear<W, W, Bias>>, Gelu,
                            Named<linear_fc2, Linear<W, V::out_hidden_size, Bias>>> {};
template <class V>
struct VisionModel : Chain<
    Named<patch_embed, PatchEmbed<V::in_channels, V::temporal_patch_size, V::patch_size, V::hidden_size>>,
    Named<pos_embed,   LearnedPosition<V::num_position_embeddings, V::hidden_size>>,
    Tapped<typename V::deepstack_visual_indexes, Stack<blocks, V::depth, VisionBlock<V>>,
           deepstack_merger_list, PatchMerger<V, NormAt::merged>>,
    Named<merger, PatchMerger<V, NormAt::patch>>> {};
template <class V, class T, class Head = TiedHead<embed_tokens, lm_head>>
struct Qwen3VL : VisionLanguage<Named<visual, VisionModel<V>>, Named<language_model, TextModel<T>>,
                                DeepStack<0, 1, 2>, Head> {};
template <class T>
using UntiedHead = OwnHead<lm_head, Linear<T::hidden_size, T::vocab_size>>;

struct Qwen3VL_2B   : Qwen3VL<Vision2B, Text2B> {};
struct Qwen3VL_4B   : Qwen3VL<Vision4B, Text4B> {};
struct Qwen3VL_8B   : Qwen3VL<Vision8B, Text8B, UntiedHead<Text8B>> {};
struct Qwen3VL_32B  : Qwen3VL<Vision32B, Text32B, UntiedHead<Text32B>> {};
struct Qwen3VL_Tiny : Qwen3VL<VisionTiny, TextTiny> {};
struct Qwen3VL_Nano : Qwen3VL<VisionNano, TextNano> {};

static_assert(param_count<Qwen3VL_2B> == 2'127'532'032);
static_assert(param_count<Qwen3VL_4B> == 4'437'815'808);
static_assert(param_count<Qwen3VL_8B> == 8'767'123'696);
static_assert(param_count<Qwen3VL_32B> == 33'357'390'064);
static_assert(param_count<Qwen3VL_Nano> == 4'528'704);

}  // namespace lamina::qwen3_vl
