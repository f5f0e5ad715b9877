#pragma once
#include <lamina/model/qwen3_moe/config.hpp>
#include <lamina/model/qwen3_vl/family.hpp>

namespace lamina::qwen3_vl_moe {

namespace detail {
inline constexpr FieldDefault normalised[] = {{"text_config.norm_topk_prob", "true"}};
inline constexpr auto text_fields = joined_tables(qwen3_vl::detail::text_fields, qwen3_moe::detail::expert_fields);
inline constexpr auto defaults =
    joined_tables(qwen3_vl::detail::defaults, qwen3_moe::detail::expert_defaults, normalised);

/// The released files hold the matrices of a layer's experts in two tensors, as x W wants them.
inline constexpr std::string_view gate_up[] = {"gate_proj", "up_proj"}, down[] = {"down_proj"};
inline constexpr checkpoint::Stacking stackings[] = {{"experts.gate_up_proj", gate_up}, {"experts.down_proj", down}};
}  // namespace detail

inline constexpr Family family = [] {
  Family f = qwen3_vl::family;
  f.model_type = "qwen3_vl_moe";
  f.title = "Qwen3-VL-MoE";
  f.names.stackings = detail::stackings;
  f.config.text_fields = detail::text_fields;
  f.config.defaults = detail::defaults;
  f.templates = {};  // Qwen3-VL's
  return f;
}();

}  // namespace lamina::qwen3_vl_moe
