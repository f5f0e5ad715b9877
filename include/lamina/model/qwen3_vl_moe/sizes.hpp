#pragma once
#include <lamina/model/qwen3_moe/sizes.hpp>
#include <lamina/model/qwen3_vl/sizes.hpp>

/// Sizes of the Qwen3-VL models with a mixture of experts, under config.json's own names: decoders of Qwen3's and
/// towers of Qwen3-VL's. Evidence: config.json and the parameter totals, which static_asserts in model.hpp check.
namespace lamina::qwen3_vl_moe {

/// A decoder of text as the language model of Qwen3-VL.
template <class Text>
struct Decoder : Text {
  static constexpr std::int64_t rope_theta = qwen3_vl::TextConfig::rope_theta;
  using mrope_section = qwen3_vl::TextConfig::mrope_section;
};
using Text30B_A3B = Decoder<qwen3_moe::Text30B_A3B>;
using Text235B_A22B = Decoder<qwen3_moe::Text235B_A22B>;

struct Vision30B_A3B : qwen3_vl::Vision8B {
  static constexpr int out_hidden_size = Text30B_A3B::hidden_size;
};
using Vision235B_A22B = qwen3_vl::Vision8B;

/// For tests.
struct TextTiny : Decoder<qwen3_moe::TextTiny> {
  static constexpr int num_hidden_layers = 3;
  using mrope_section = Section<6, 5, 5>;
};
struct VisionTiny : qwen3_vl::VisionConfig {
  static constexpr int num_heads = 2, num_position_embeddings = 64;
  static constexpr int depth = 3, hidden_size = 32, intermediate_size = 64, out_hidden_size = TextTiny::hidden_size;
  using deepstack_visual_indexes = Indices<0, 1, 2>;
};

}  // namespace lamina::qwen3_vl_moe
