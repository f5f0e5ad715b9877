#pragma once
#include <lamina/model/qwen3_moe/model.hpp>
#include <lamina/model/qwen3_vl/model.hpp>
#include <lamina/model/qwen3_vl_moe/sizes.hpp>

/// Qwen3-VL with a mixture of experts: Qwen3-VL's tower and attention, and Qwen3-MoE's experts.
namespace lamina::qwen3_vl_moe {
using namespace lamina::name;
using namespace qwen_vl::tags;
// clang-format off
template <class C>
using TextModel = qwen3::Decoder<C, Stack<layers, C::num_hidden_layers, qwen3_moe::DecoderLayer<C, qwen3_vl::TextAttention<C>>>>;
template <class V, class T, class Head = qwen3::UntiedHead<T>>
struct Qwen3VLMoe : VisionLanguage<Named<visual, qwen3_vl::VisionModel<V>>, Named<language_model, TextModel<T>>,
                                   DeepStack<0, 1, 2>, Head> {};

struct Qwen3VL_30B_A3B   : Qwen3VLMoe<Vision30B_A3B, Text30B_A3B> {};
struct Qwen3VL_235B_A22B : Qwen3VLMoe<Vision235B_A22B, Text235B_A22B> {};
struct Qwen3VLMoe_Tiny   : Qwen3VLMoe<VisionTiny, TextTiny, TiedHead<embed_tokens, lm_head>> {};
// clang-format on

static_assert(param_count<Qwen3VL_30B_A3B> == 31'070'754'032);
static_assert(param_count<Qwen3VL_235B_A22B> == 235'670'022'896);

}  // namespace lamina::qwen3_vl_moe
