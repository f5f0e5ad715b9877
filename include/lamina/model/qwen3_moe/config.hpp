#pragma once
#include <lamina/model/qwen3/config.hpp>

/// What a mixture of experts has of its own in config.json. Sources as in model/config/fields.hpp.
namespace lamina::qwen3_moe {

namespace detail {
using enum io::FieldUse;

inline constexpr io::Field expert_fields[] = {
    {"num_experts", fact},
    {"num_local_experts", used, "transformers 5's name of num_experts"},
    {"num_experts_per_tok", fact},
    {"moe_intermediate_size", fact},
    {"norm_topk_prob", fact},
    {"decoder_sparse_step", refused, "every layer has experts here", "[1]"},
    {"mlp_only_layers", refused, "every layer has experts here", "[[]]"},
    {"output_router_logits", no_effect, "a training run asks for the loss of routers as moe_aux_loss_coef", "[false]"},
    {"router_aux_loss_coef", no_effect, "moe_aux_loss_coef of a training run says it"},
};
inline constexpr FieldDefault expert_defaults[] = {
    {"text_config.num_experts", "", "num_local_experts"},
    {"text_config.intermediate_size", "6144"},
};
inline constexpr auto text_fields = joined_tables(qwen3::detail::text_fields, expert_fields);
inline constexpr auto defaults = joined_tables(qwen3::detail::defaults, expert_defaults);
}  // namespace detail

inline constexpr ConfigFormat config = [] {
  ConfigFormat format = qwen3::config;
  format.text_fields = detail::text_fields;
  format.defaults = detail::defaults;
  format.slides = false;
  return format;
}();

}  // namespace lamina::qwen3_moe
