#pragma once
#include <string_view>

/// Declares a tag: a type whose text is one component of a checkpoint's tensor name. Used inside any namespace.
#define LAMINA_NAME(tag)                           \
  struct tag {                                     \
    static constexpr std::string_view text = #tag; \
  }

/// Tags spelt as in the checkpoints. The path of tags is the tensor's name; there is no other table of names.
namespace lamina::name {

// clang-format off
LAMINA_NAME(model); LAMINA_NAME(language_model); LAMINA_NAME(visual); LAMINA_NAME(lm_head);
LAMINA_NAME(embed_tokens); LAMINA_NAME(layers); LAMINA_NAME(norm); LAMINA_NAME(weight); LAMINA_NAME(bias);
LAMINA_NAME(input_layernorm); LAMINA_NAME(post_attention_layernorm); LAMINA_NAME(self_attn); LAMINA_NAME(mlp);
LAMINA_NAME(q_proj); LAMINA_NAME(k_proj); LAMINA_NAME(v_proj); LAMINA_NAME(o_proj);
LAMINA_NAME(q_norm); LAMINA_NAME(k_norm);
LAMINA_NAME(gate_proj); LAMINA_NAME(up_proj); LAMINA_NAME(down_proj);
LAMINA_NAME(patch_embed); LAMINA_NAME(pos_embed); LAMINA_NAME(blocks); LAMINA_NAME(norm1); LAMINA_NAME(norm2);
LAMINA_NAME(attn); LAMINA_NAME(qkv); LAMINA_NAME(proj); LAMINA_NAME(linear_fc1); LAMINA_NAME(linear_fc2);
LAMINA_NAME(merger); LAMINA_NAME(deepstack_merger_list); LAMINA_NAME(ln_q);
LAMINA_NAME(lora_A); LAMINA_NAME(lora_B);
struct mlp_0 { static constexpr std::string_view text = "mlp.0"; };   // Qwen2.5-VL's merger numbers its linears
struct mlp_2 { static constexpr std::string_view text = "mlp.2"; };
// clang-format on

}  // namespace lamina::name
