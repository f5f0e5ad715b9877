#pragma once
#include <lamina/model/family.hpp>

/// What is Qwen2.5-VL's own in config.json. Sources as in model/config/fields.hpp.
namespace lamina::qwen2_5_vl {

namespace detail {
using enum io::FieldUse;

inline constexpr io::Field text_fields[] = {
    {"layer_types", used, "sliding windows are refused"},
    {"head_dim", no_effect, "it is hidden_size / num_attention_heads in Qwen2.5-VL"},
    {"attention_bias", no_effect, "q, k and v have biases in Qwen2.5-VL, o has none"},
};
inline constexpr io::Field vision_fields[] = {
    {"in_chans", used, "the released name of in_channels, which wins"},
    {"spatial_patch_size", used, "the released name of patch_size, which wins"},
    {"window_size", fact},
    {"fullatt_block_indexes", fact},
    {"tokens_per_second", used, "positions of a second of video"},
};
/// The released Qwen2.5-VL-3B relies on those of the tower.
inline constexpr FieldDefault defaults[] = {
    {"text_config.max_position_embeddings", "32768"}, {"text_config.hidden_act", R"("silu")"},
    {"text_config.mrope_interleaved", "false"},       {"vision_config.depth", "32"},
    {"vision_config.intermediate_size", "3420"},      {"vision_config.num_heads", "16"},
    {"vision_config.in_channels", "3", "in_chans"},   {"vision_config.patch_size", "14", "spatial_patch_size"},
    {"vision_config.temporal_patch_size", "2"},       {"vision_config.spatial_merge_size", "2"},
    {"vision_config.hidden_act", R"("silu")"},        {"vision_config.window_size", "112"},
    {"vision_config.tokens_per_second", "4"},         {"vision_config.fullatt_block_indexes", "[7, 15, 23, 31]"},
};
}  // namespace detail

inline constexpr ConfigFormat config{.text_fields = detail::text_fields,
                                     .vision_fields = detail::vision_fields,
                                     .defaults = detail::defaults,
                                     .image_token_id = 151655,
                                     .video_token_id = 151656,
                                     .nested = false};

}  // namespace lamina::qwen2_5_vl
