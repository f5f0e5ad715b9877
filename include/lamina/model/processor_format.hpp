#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace lamina {

/// Resizes of LLaMA-Factory's plugin for a family, before the model's own processor.
struct ShapeLimits {
  int least_side = 1;
  int most_ratio = 200;   ///< of the longer side to the shorter; beyond it:
  int ratio_after = 180;  ///< the longer side becomes so many times the shorter
};

/// How a model's processor picks n frames out of `total`.
enum class FrameRule {
  evenly,  ///< linspace(0, total - 1, n), rounded
  strided  ///< every (total / n)th, truncated; n a multiple of temporal_patch_size
};

/// A family's video processing: what a video_preprocessor_config.json may leave out, and which classes it may name.
/// vision/video/ is the one way of processing that is built.
struct VideoFormat {
  std::int64_t min_pixels = 0, max_pixels = 0;
  bool whole_clip = false;  ///< they bound the pixels of all frames together; else those of each
  FrameRule rule = FrameRule::evenly;
  double fps = 2;  ///< frames per second that are picked
  std::int64_t min_frames = 4, max_frames = 768;
  std::string_view video_processor_types = "[]";  ///< a JSON list of class names; empty: the family reads no videos
};

/// A family's image processing: what a preprocessor_config.json may leave out, and which classes it may name.
/// vision/processor.hpp is the one way of processing that is built.
struct ProcessorFormat {
  /// Of a family without a tower nothing here is set.
  bool reads_images() const { return patch_size > 0; }

  int patch_size = 0, temporal_patch_size = 0, merge_size = 0;
  std::int64_t min_pixels = 0, max_pixels = 0;
  std::array<float, 3> mean{}, std{};
  std::string_view image_processor_types, feature_extractor_types;  ///< JSON lists of class names
  ShapeLimits shape;
  VideoFormat video = {};
};

}  // namespace lamina
