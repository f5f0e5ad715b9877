#pragma once
#include <lamina/model/qwen_vl/processor.hpp>

namespace lamina::qwen2_5_vl {

/// Videos: defaults of transformers' Qwen2VLVideoProcessor (5.24), and the two frames per second of qwen-vl-utils.
inline constexpr ProcessorFormat processor = [] {
  ProcessorFormat format = qwen_vl::processor;
  format.video = {.min_pixels = 128 * 28 * 28,
                  .max_pixels = 768 * 28 * 28,
                  .whole_clip = false,
                  .rule = FrameRule::strided,
                  .video_processor_types = R"(["Qwen2VLVideoProcessor", "Qwen2_5_VLVideoProcessor"])"};
  return format;
}();

}  // namespace lamina::qwen2_5_vl
