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

/// A family's image processing: what a preprocessor_config.json may leave out, and which classes it may name.
/// vision/processor.hpp is the one way of processing that is built.
struct ProcessorFormat {
  int patch_size = 0, temporal_patch_size = 0, merge_size = 0;
  std::int64_t min_pixels = 0, max_pixels = 0;
  std::array<float, 3> mean{}, std{};
  std::string_view image_processor_types, feature_extractor_types;  ///< JSON lists of class names
  ShapeLimits shape;
};

}  // namespace lamina
