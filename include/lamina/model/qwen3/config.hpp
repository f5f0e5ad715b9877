#pragma once
#include <lamina/model/family.hpp>

/// What is Qwen3's own in config.json. Sources as in model/config/fields.hpp.
namespace lamina::qwen3 {

namespace detail {
using enum io::FieldUse;

inline constexpr io::Field text_fields[] = {
    {"head_dim", fact},
    {"layer_types", used, "which layers attend in a window"},
    {"attention_bias", refused, "Qwen3's projections have no bias", "[false]"},
};
inline constexpr FieldDefault defaults[] = {
    {"text_config.head_dim", "128"},
    {"text_config.max_position_embeddings", "32768"},
    {"text_config.hidden_act", R"("silu")"},
};
}  // namespace detail

inline constexpr ConfigFormat config{.text_fields = detail::text_fields,
                                     .vision_fields = {},
                                     .defaults = detail::defaults,
                                     .image_token_id = -1,
                                     .nested = false,
                                     .reads_images = false,
                                     .slides = true};

}  // namespace lamina::qwen3
