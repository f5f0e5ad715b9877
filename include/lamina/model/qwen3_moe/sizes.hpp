#pragma once
#include <lamina/model/qwen3/sizes.hpp>

/// Sizes of the Qwen3 language models with a mixture of experts, under config.json's own names. Evidence: config.json
/// and the parameter total, which a static_assert in model.hpp checks.
namespace lamina::qwen3_moe {

struct Text30B_A3B : qwen3::TextConfig {
  static constexpr int num_key_value_heads = 4, num_attention_heads = 32;
  static constexpr int hidden_size = 2048, num_hidden_layers = 48;
  static constexpr int num_experts = 128, num_experts_per_tok = 8, moe_intermediate_size = 768;
};

struct Text235B_A22B : Text30B_A3B {
  static constexpr int num_attention_heads = 64, hidden_size = 4096, num_hidden_layers = 94;
  static constexpr int moe_intermediate_size = 1536;
};

/// For tests.
struct TextTiny : qwen3::TextConfig {
  static constexpr int vocab_size = 512, num_key_value_heads = 2, num_attention_heads = 4, head_dim = 32;
  static constexpr int hidden_size = 64, num_hidden_layers = 2;
  static constexpr int num_experts = 8, num_experts_per_tok = 3, moe_intermediate_size = 48;
};

}  // namespace lamina::qwen3_moe
