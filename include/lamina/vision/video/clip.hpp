#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/vision/processor.hpp>
#include <lamina/vision/video/frame_choice.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

/// The frames of a video as the vision tower reads them: groups of temporal_patch_size frames, cut into patches.
namespace lamina::vision {

namespace detail {

/// The size of frames whose clip is limited as a whole. A side below the factor is scaled up first.
/// source  transformers 5.24, models/qwen3_vl/video_processing_qwen3_vl.py, smart_resize
inline ImageSize smart_resize_clip(ImageSize size, int frames, int temporal, int factor, const VideoFormat& limits) {
  if (size.width < factor || size.height < factor) {
    const double scale = std::max(static_cast<double>(factor) / size.height, static_cast<double>(factor) / size.width);
    size = {static_cast<int>(size.width * scale), static_cast<int>(size.height * scale)};
  }
  const auto shown = static_cast<double>(std::max<std::int64_t>(round_to_multiple(frames, temporal), temporal));
  const double pixels = static_cast<double>(round_to_multiple(size.width, factor)) *
                        static_cast<double>(round_to_multiple(size.height, factor));
  // The rounded number of frames is what is compared, the number itself what is scaled by.
  const auto bound = [&](std::int64_t limit) { return static_cast<double>(limit); };
  if (shown * pixels <= bound(limits.max_pixels) && shown * pixels >= bound(limits.min_pixels))
    return smart_resize(size, factor, 1, std::numeric_limits<std::int64_t>::max());
  const bool large = shown * pixels > bound(limits.max_pixels);
  const double all = static_cast<double>(frames) * size.height * size.width;
  const double beta = large ? std::sqrt(all / bound(limits.max_pixels)) : std::sqrt(bound(limits.min_pixels) / all);
  const auto scaled = [&](int side) {
    const double steps = large ? std::floor(side / beta / factor) : std::ceil(side * beta / factor);
    return std::max(factor, static_cast<int>(steps) * factor);
  };
  return {scaled(size.width), scaled(size.height)};
}

}  // namespace detail

/// The grid of a clip of `frames` frames of this size. Error for a ratio of sides above 200.
inline Grid clip_grid(const Processor& p, std::int64_t frames, ImageSize size) {
  detail::check_size(size, "of a video given to the processor");
  const int factor = p.patch_size * p.merge_size, n = static_cast<int>(frames);
  detail::check_ratio(size);
  const ImageSize resized = p.video.whole_clip
                                ? detail::smart_resize_clip(size, n, p.temporal_patch_size, factor, p.video)
                                : detail::smart_resize(size, factor, p.video.min_pixels, p.video.max_pixels);
  return {(n + p.temporal_patch_size - 1) / p.temporal_patch_size, resized.height / p.patch_size,
          resized.width / p.patch_size};
}

/// A clip's grids as runs of placeholders have them: one for all, which steps through time, or, if text tells the time,
/// one a group of frames.
inline std::vector<Grid> grids_of_clip(Grid grid, bool timed_by_text, double second_per_grid, int tokens_per_second) {
  if (timed_by_text) return std::vector<Grid>(static_cast<std::size_t>(grid.t), Grid{1, grid.h, grid.w});
  grid.time_step = static_cast<float>(second_per_grid) * static_cast<float>(tokens_per_second);
  return {grid};
}

/// Writes frame number `frame` of a clip of `frames` frames into the clip's rows (grid.patches(), row_length()); the
/// last frame also fills its group.
inline void write_clip_frame(const Processor& p, const Image& image, const Grid& grid, std::int64_t frame,
                             std::int64_t frames, std::span<float> rows) {
  const auto group = static_cast<std::size_t>(frame / p.temporal_patch_size);
  const auto first = static_cast<int>(frame % p.temporal_patch_size);
  const std::size_t length = static_cast<std::size_t>(grid.h) * grid.w * static_cast<std::size_t>(p.row_length());
  if (rows.size() != length * static_cast<std::size_t>(grid.t)) fail("patches: no room for the frames of a video");
  p.write_frames(image, grid, first, frame == frames - 1 ? p.temporal_patch_size : first + 1,
                 rows.subspan(group * length, length));
}

}  // namespace lamina::vision
