#pragma once
#include <cstdint>

/// Sizes of the dense Qwen3 language models, under config.json's own names. Evidence: the models' config.json files and
/// parameter totals, which static_asserts in model.hpp check.
namespace lamina::qwen3 {

struct TextConfig {
  static constexpr int vocab_size = 151936, num_key_value_heads = 8, head_dim = 128;
  static constexpr std::int64_t rope_theta = 1'000'000;
};
// clang-format off
struct Text0_6B : TextConfig { static constexpr int hidden_size = 1024, num_hidden_layers = 28, num_attention_heads = 16, intermediate_size =  3072; };
struct Text1_7B : TextConfig { static constexpr int hidden_size = 2048, num_hidden_layers = 28, num_attention_heads = 16, intermediate_size =  6144; };
struct Text4B   : TextConfig { static constexpr int hidden_size = 2560, num_hidden_layers = 36, num_attention_heads = 32, intermediate_size =  9728; };
struct Text8B   : TextConfig { static constexpr int hidden_size = 4096, num_hidden_layers = 36, num_attention_heads = 32, intermediate_size = 12288; };
// clang-format on

/// For tests: Qwen3-VL's tiny size without its tower.
struct TextTiny : TextConfig {
  static constexpr int vocab_size = 4096, num_key_value_heads = 2;
  static constexpr int hidden_size = 256, num_hidden_layers = 4, num_attention_heads = 4, intermediate_size = 768;
};

}  // namespace lamina::qwen3
