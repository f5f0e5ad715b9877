#pragma once
#include <lamina/model/family.hpp>

/// What is Qwen3-VL's own in config.json. Sources as in model/config/fields.hpp.
namespace lamina::qwen3_vl {

namespace detail {
using enum io::FieldUse;

inline constexpr io::Field text_fields[] = {
    {"head_dim", fact},
    {"attention_bias", refused, "Qwen3-VL's projections have no bias", "[false]"},
    {"pretraining_tp", no_effect, "transformers' Qwen-VL models do not read it"},
};
inline constexpr io::Field vision_fields[] = {
    {"num_position_embeddings", fact},
    {"deepstack_visual_indexes", fact},
};
inline constexpr FieldDefault defaults[] = {
    {"text_config.head_dim", "128"},
    {"text_config.max_position_embeddings", "128000"},
    {"text_config.hidden_act", R"("silu")"},
    {"text_config.mrope_interleaved", "true"},
    {"vision_config.num_heads", "16"},
    {"vision_config.in_channels", "3"},
    {"vision_config.patch_size", "16"},
    {"vision_config.temporal_patch_size", "2"},
    {"vision_config.spatial_merge_size", "2"},
    {"vision_config.hidden_act", R"("gelu_pytorch_tanh")"},
    {"vision_config.num_position_embeddings", "2304"},
};
}  // namespace detail

inline constexpr ConfigFormat config{.text_fields = detail::text_fields,
                                     .vision_fields = detail::vision_fields,
                                     .defaults = detail::defaults,
                                     .image_token_id = 151655,
                                     .video_token_id = 151656};

}  // namespace lamina::qwen3_vl
