#pragma once
#include <cstdint>

#include <lamina/layer/attention_core.hpp>
#include <lamina/layer/rope.hpp>

/// Sizes of the Qwen2.5-VL models, under config.json's own names. Evidence as in model/qwen3_vl/sizes.hpp.
namespace lamina::qwen2_5_vl {

struct TextConfig {
  static constexpr int vocab_size = 152064, head_dim = 128;
  static constexpr std::int64_t rope_theta = 1'000'000;
  using mrope_section = Section<16, 24, 24>;
};
// clang-format off
struct Text3B  : TextConfig { static constexpr int hidden_size = 2048, num_hidden_layers = 36, num_attention_heads = 16, num_key_value_heads = 2, intermediate_size = 11008, vocab_size = 151936; };
struct Text7B  : TextConfig { static constexpr int hidden_size = 3584, num_hidden_layers = 28, num_attention_heads = 28, num_key_value_heads = 4, intermediate_size = 18944; };
struct Text32B : TextConfig { static constexpr int hidden_size = 5120, num_hidden_layers = 64, num_attention_heads = 40, num_key_value_heads = 8, intermediate_size = 27648; };
struct Text72B : TextConfig { static constexpr int hidden_size = 8192, num_hidden_layers = 80, num_attention_heads = 64, num_key_value_heads = 8, intermediate_size = 29568; };
struct TextTiny : TextConfig { static constexpr int hidden_size = 256, num_hidden_layers = 4, num_attention_heads = 2, num_key_value_heads = 1, intermediate_size = 768, vocab_size = 4096; };

struct VisionConfig {
  static constexpr int in_channels = 3, patch_size = 14, temporal_patch_size = 2, spatial_merge_size = 2, window_size = 112;
  static constexpr int depth = 32, hidden_size = 1280, num_heads = 16;
  using fullatt_block_indexes = WindowedExcept<7, 15, 23, 31>;
};
struct Vision3B  : VisionConfig { static constexpr int intermediate_size = 3420, out_hidden_size = 2048; };
struct Vision7B  : VisionConfig { static constexpr int intermediate_size = 3420, out_hidden_size = 3584; };
struct Vision32B : VisionConfig { static constexpr int intermediate_size = 3456, out_hidden_size = 5120; };
struct Vision72B : VisionConfig { static constexpr int intermediate_size = 3456, out_hidden_size = 8192; };
struct VisionTiny : VisionConfig {
  static constexpr int depth = 4, hidden_size = 160, num_heads = 2, intermediate_size = 340, out_hidden_size = 256;
  using fullatt_block_indexes = WindowedExcept<1, 3>;
};
// clang-format on

}  // namespace lamina::qwen2_5_vl
