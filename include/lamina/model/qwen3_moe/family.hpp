#pragma once
#include <lamina/model/qwen3/family.hpp>

namespace lamina::qwen3_moe {

namespace detail {
using enum io::FieldUse;

inline constexpr io::Field text_fields[] = {
    {"head_dim", fact},
    {"layer_types", used, "sliding windows are refused"},
    {"attention_bias", refused, "Qwen3's projections have no bias", "[false]"},
    {"num_experts", fact},
    {"num_local_experts", used, "transformers 5's name of num_experts"},
    {"num_experts_per_tok", fact},
    {"moe_intermediate_size", fact},
    {"norm_topk_prob", fact},
    {"decoder_sparse_step", refused, "every layer has experts here", "[1]"},
    {"mlp_only_layers", refused, "every layer has experts here", "[[]]"},
    {"output_router_logits", refused, "no loss of the router is added", "[false]"},
    {"router_aux_loss_coef", no_effect, "it belongs to output_router_logits"},
};
inline constexpr FieldDefault defaults[] = {
    {"text_config.head_dim", "128"},           {"text_config.max_position_embeddings", "32768"},
    {"text_config.hidden_act", R"("silu")"},   {"text_config.num_experts", "", "num_local_experts"},
    {"text_config.intermediate_size", "6144"},
};
inline constexpr ConfigFormat config = [] {
  ConfigFormat format = qwen3::config;
  format.text_fields = text_fields;
  format.defaults = defaults;
  format.slides = false;
  return format;
}();
}  // namespace detail

inline constexpr Family family = [] {
  Family f = qwen3::family;
  f.model_type = "qwen3_moe";
  f.title = "Qwen3-MoE";
  f.relatives = {};
  f.config = detail::config;
  return f;
}();

}  // namespace lamina::qwen3_moe
