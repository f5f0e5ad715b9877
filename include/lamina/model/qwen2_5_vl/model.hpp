#pragma once
#include <lamina/compose.hpp>
#include <lamina/layer.hpp>
#include <lamina/model/qwen2_5_vl/sizes.hpp>
#include <lamina/model/qwen_vl/tags.hpp>

/// Qwen2.5-VL. Names are those of transformers 4.52 and later; family.hpp knows the released spelling.
namespace lamina::qwen2_5_vl {
using namespace lamina::name;
using namespace qwen_vl::tags;
// clang-format off
LAMINA_NAME(ln_q);
struct mlp_0 { static constexpr std::string_view text = "mlp.0"; };  // the merger numbers its linears
struct mlp_2 { static constexpr std::string_view text = "mlp.2"; };

template <class C, int Q = C::num_attention_heads * C::head_dim, int KV = C::num_key_value_heads * C::head_dim>
struct TextAttention : Attention<
    Heads<C::num_attention_heads, C::num_key_value_heads, C::head_dim>, Causal,
    SectionedMRoPE<C::rope_theta, typename C::mrope_section>,
    Named<q_proj, Linear<C::hidden_size, Q, Bias>>,  Named<k_proj, Linear<C::hidden_size, KV, Bias>>,
    Named<v_proj, Linear<C::hidden_size, KV, Bias>>, Named<o_proj, Linear<Q, C::hidden_size>>> {};
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
    Heads<V::num_heads, V::num_heads, V::hidden_size / V::num_heads>, typename V::fullatt_block_indexes, RoPE2D,
    Named<qkv,  Linear<V::hidden_size, 3 * V::hidden_size, Bias>>,
    Named<proj, Linear<V::hidden_size, V::hidden_size, Bias>>> {};
template <class V>
struct VisionMLP : SwiGLU<Named<gate_proj, Linear<V::hidden_size, V::intermediate_size, Bias>>,
                          Named<up_proj,   Linear<V::hidden_size, V::intermediate_size, Bias>>,
                          Named<down_proj, Linear<V::intermediate_size, V::hidden_size, Bias>>> {};
template <class V>
struct VisionBlock : Chain<Residual<Named<norm1, RMSNorm<V::hidden_size>>, Named<attn, VisionAttention<V>>>,
                           Residual<Named<norm2, RMSNorm<V::hidden_size>>, Named<mlp,  VisionMLP<V>>>> {};
template <class V, int M = V::spatial_merge_size, int W = V::hidden_size * M * M>
struct PatchMerger : Merger<M, NormAt::patch, Named<ln_q, RMSNorm<V::hidden_size>>, Named<mlp_0, Linear<W, W, Bias>>, Gelu,
                            Named<mlp_2, Linear<W, V::out_hidden_size, Bias>>> {};
template <class V>
struct VisionModel : Chain<
    Named<patch_embed, PatchEmbed<V::in_channels, V::temporal_patch_size, V::patch_size, V::hidden_size, NoBias>>,
    Windowed<V::window_size / V::patch_size / V::spatial_merge_size,
             Chain<Stack<blocks, V::depth, VisionBlock<V>>, Named<merger, PatchMerger<V>>>>> {};
template <class V, class T, class Head = TiedHead<embed_tokens, lm_head>>
struct Qwen2_5VL : VisionLanguage<Named<visual, VisionModel<V>>, Named<language_model, TextModel<T>>, DeepStack<>, Head> {};
template <class T>
using UntiedHead = OwnHead<lm_head, Linear<T::hidden_size, T::vocab_size>>;

struct Qwen2_5VL_3B   : Qwen2_5VL<Vision3B, Text3B> {};
struct Qwen2_5VL_7B   : Qwen2_5VL<Vision7B, Text7B, UntiedHead<Text7B>> {};
struct Qwen2_5VL_32B  : Qwen2_5VL<Vision32B, Text32B, UntiedHead<Text32B>> {};
struct Qwen2_5VL_72B  : Qwen2_5VL<Vision72B, Text72B, UntiedHead<Text72B>> {};
struct Qwen2_5VL_Tiny : Qwen2_5VL<VisionTiny, TextTiny> {};

static_assert(param_count<Qwen2_5VL_3B> == 3'754'622'976);
static_assert(param_count<Qwen2_5VL_7B> == 8'292'166'656);
static_assert(param_count<Qwen2_5VL_32B> == 33'452'718'336);
static_assert(param_count<Qwen2_5VL_72B> == 73'410'777'344);

}  // namespace lamina::qwen2_5_vl
