#pragma once
#include <cstdint>

#include <lamina/compose/wrap/tapped.hpp>
#include <lamina/layer/rope.hpp>

/// Sizes of the dense Qwen3-VL models, under config.json's own names. Evidence: the models' config.json files and
/// parameter totals, which static_asserts in model.hpp check.
namespace lamina::qwen3_vl {

struct TextConfig {
  static constexpr int vocab_size = 151936, num_key_value_heads = 8, head_dim = 128;
  static constexpr std::int64_t rope_theta = 5'000'000;
  using mrope_section = Section<24, 20, 20>;
};
// clang-format off
struct Text2B  : TextConfig { static constexpr int hidden_size = 2048, num_hidden_layers = 28, num_attention_heads = 16, intermediate_size =  6144; };
struct Text4B  : TextConfig { static constexpr int hidden_size = 2560, num_hidden_layers = 36, num_attention_heads = 32, intermediate_size =  9728; };
struct Text8B  : TextConfig { static constexpr int hidden_size = 4096, num_hidden_layers = 36, num_attention_heads = 32, intermediate_size = 12288; };
struct Text32B : TextConfig { static constexpr int hidden_size = 5120, num_hidden_layers = 64, num_attention_heads = 64, intermediate_size = 25600; };
struct TextTiny : TextConfig {
  static constexpr int vocab_size = 4096, num_key_value_heads = 2;
  static constexpr int hidden_size = 256, num_hidden_layers = 4, num_attention_heads = 4, intermediate_size = 768;
};

/// Small enough to train in minutes: it reads images of data/ (see data/README.md).
struct TextNano {
  static constexpr int vocab_size = 320, num_key_value_heads = 1, head_dim = 64;
  static constexpr std::int64_t rope_theta = 10'000;
  using mrope_section = Section<12, 10, 10>;
  static constexpr int hidden_size = 192, num_hidden_layers = 5, num_attention_heads = 3, intermediate_size = 384;
};

struct VisionConfig {
  static constexpr int in_channels = 3, patch_size = 16, temporal_patch_size = 2, spatial_merge_size = 2, num_heads = 16;
  static constexpr int num_position_embeddings = 2304;
};
struct Vision2B  : VisionConfig { static constexpr int depth = 24, hidden_size = 1024, intermediate_size = 4096, out_hidden_size = 2048; using deepstack_visual_indexes = Indices<5, 11, 17>; };
struct Vision4B  : Vision2B     { static constexpr int out_hidden_size = 2560; };
struct Vision8B  : VisionConfig { static constexpr int depth = 27, hidden_size = 1152, intermediate_size = 4304, out_hidden_size = 4096; using deepstack_visual_indexes = Indices<8, 16, 24>; };
struct Vision32B : Vision8B     { static constexpr int out_hidden_size = 5120; };
struct VisionTiny : VisionConfig {
  static constexpr int num_heads = 4, num_position_embeddings = 256;
  static constexpr int depth = 4, hidden_size = 256, intermediate_size = 512, out_hidden_size = 256; using deepstack_visual_indexes = Indices<0, 1, 2>;
};
struct VisionNano : VisionConfig {
  static constexpr int num_heads = 2, num_position_embeddings = 256;
  static constexpr int depth = 6, hidden_size = 128, intermediate_size = 512, out_hidden_size = 192; using deepstack_visual_indexes = Indices<1, 2, 4>;
};
// clang-format on

}  // namespace lamina::qwen3_vl
