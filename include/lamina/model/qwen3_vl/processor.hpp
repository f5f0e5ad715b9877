#pragma once
#include <lamina/model/qwen_vl/processor.hpp>

namespace lamina::qwen3_vl {

/// Videos: defaults of transformers' Qwen3VLVideoProcessor (5.24).
inline constexpr ProcessorFormat processor = [] {
  ProcessorFormat format = qwen_vl::processor;
  format.video = {.min_pixels = 128 * 32 * 32,
                  .max_pixels = 768 * 32 * 32,
                  .whole_clip = true,
                  .rule = FrameRule::evenly,
                  .video_processor_types = R"(["Qwen3VLVideoProcessor"])"};
  return format;
}();

}  // namespace lamina::qwen3_vl
