#pragma once
#include <lamina/core/name.hpp>

/// Words that the tensor names of the Qwen-VL families share.
namespace lamina::qwen_vl::tags {

// clang-format off
LAMINA_NAME(language_model); LAMINA_NAME(visual); LAMINA_NAME(lm_head);
LAMINA_NAME(embed_tokens); LAMINA_NAME(layers); LAMINA_NAME(norm);
LAMINA_NAME(input_layernorm); LAMINA_NAME(post_attention_layernorm); LAMINA_NAME(self_attn); LAMINA_NAME(mlp);
LAMINA_NAME(gate_proj); LAMINA_NAME(up_proj); LAMINA_NAME(down_proj);
LAMINA_NAME(patch_embed); LAMINA_NAME(blocks); LAMINA_NAME(norm1); LAMINA_NAME(norm2); LAMINA_NAME(attn);
LAMINA_NAME(merger);
// clang-format on

}  // namespace lamina::qwen_vl::tags
