#pragma once
#include <lamina/core/error.hpp>
#include <lamina/model/processor_format.hpp>
#include <lamina/vision/video/messages.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

/// Which frames of a video a model sees, and when they are shown.
namespace lamina::vision {

struct FrameChoice {
  std::vector<std::int64_t> frames;  ///< numbers in the video, ascending; of a list of images: their places
  double fps = 0;         ///< of the video, by which frames have times; of a list: how many of its images make a second
  double chosen_fps = 0;  ///< frames per second among those chosen, as the model's positions count time

  /// Seconds from the start to the middle of each group of `size` frames; the last frame stands in for those that lack.
  std::vector<double> group_seconds(int size) const {
    std::vector<double> out;
    const auto second = [&](std::size_t i) {
      return static_cast<double>(frames[std::min(i, frames.size() - 1)]) / fps;
    };
    const auto length = static_cast<std::size_t>(size);
    for (std::size_t i = 0; i < frames.size(); i += length) out.push_back((second(i) + second(i + length - 1)) / 2);
    return out;
  }
  /// second_per_grid_ts: seconds from one group of frames to the next.
  double second_per_grid(int temporal_patch_size) const { return temporal_patch_size / chosen_fps; }
};

/// A list of images, all of which are seen.
inline FrameChoice listed_frames(std::int64_t count, double fps) {
  FrameChoice out{std::vector<std::int64_t>(static_cast<std::size_t>(count)), fps, fps};
  std::iota(out.frames.begin(), out.frames.end(), std::int64_t{0});
  return out;
}

namespace detail {

/// numpy.linspace(0, total - 1, count), each made whole by `round`.
template <class Round>
std::vector<std::int64_t> spread(std::int64_t total, std::int64_t count, Round round) {
  std::vector<std::int64_t> out;
  const double last = static_cast<double>(total - 1), step = count > 1 ? last / static_cast<double>(count - 1) : 0;
  for (std::int64_t i = 0; i < count; ++i)
    out.push_back(static_cast<std::int64_t>(round(count > 1 && i == count - 1 ? last : static_cast<double>(i) * step)));
  return out;
}

/// torch.arange(0, total, total / count).int().
inline std::vector<std::int64_t> strides(std::int64_t total, std::int64_t count) {
  std::vector<std::int64_t> out;
  const double step = static_cast<double>(total) / static_cast<double>(count);
  const auto length = static_cast<std::int64_t>(std::ceil(static_cast<double>(total) / step));
  for (std::int64_t i = 0; i < length; ++i)
    out.push_back(static_cast<std::int64_t>(static_cast<float>(step * static_cast<double>(i))));
  return out;
}

inline double truncated(double x) { return std::trunc(x); }
inline double nearest(double x) { return std::nearbyint(x); }

}  // namespace detail

/// Of a video to train on: video_fps frames per second, at most video_maxlen, spread over all of it. If the container
/// does not say how many frames it has, facts.frames is the number found, and the first video_maxlen are taken.
/// source  LLaMA-Factory 0.9.5, data/mm_plugin.py, _get_video_sample_indices and Qwen2VLPlugin::_regularize_videos
inline FrameChoice frames_to_train_on(const VideoFacts& facts, bool counted, double video_fps, std::int64_t maxlen) {
  FrameChoice out{{}, facts.fps, video_fps};
  if (counted) {
    out.frames = detail::spread(std::min(facts.frames, maxlen), std::min(facts.frames, maxlen), detail::truncated);
  } else {
    const auto wanted = static_cast<std::int64_t>(std::floor(facts.seconds * video_fps));
    out.frames = detail::spread(facts.frames, std::min({facts.frames, maxlen, std::max<std::int64_t>(wanted, 1)}),
                                detail::truncated);
  }
  if (facts.seconds > 0) out.chosen_fps = static_cast<double>(out.frames.size()) / facts.seconds;
  return out;
}

/// What a request or a flag says about frames; below 0: nothing.
struct FrameWish {
  double fps = -1;
  std::int64_t num_frames = -1;
  bool any() const { return fps > 0 || num_frames > 0; }
};

namespace detail {

/// The number of frames by the model's processor.
inline std::int64_t frame_count(const VideoFacts& facts, const VideoFormat& format, int temporal, double fps) {
  const double wanted = static_cast<double>(facts.frames) / facts.fps * fps;
  const auto least = static_cast<double>(format.min_frames), most = static_cast<double>(format.max_frames),
             all = static_cast<double>(facts.frames);
  if (format.rule == FrameRule::evenly)
    return static_cast<std::int64_t>(std::min({std::max(std::trunc(wanted), least), most, all}));
  const double whole = std::floor(std::min(most, all) / temporal) * temporal;
  const double count = std::min({std::max(wanted, least), whole, all});
  return static_cast<std::int64_t>(std::floor(count / temporal)) * temporal;
}

}  // namespace detail

/// Of a video to answer about, by the model's own processor: format.fps frames per second, or wish.fps, or
/// wish.num_frames in all. facts.frames must be known. A video whose frames have no known rate counts as one of 24 per
/// second. A video that has too few frames for a group is seen whole.
/// source  transformers 5.24, Qwen3VLVideoProcessor.sample_frames and Qwen2VLVideoProcessor.sample_frames
inline FrameChoice frames_to_answer_about(VideoFacts facts, const VideoFormat& format, int temporal_patch_size,
                                          const FrameWish& wish = {}) {
  if (!(facts.fps > 0)) facts.fps = 24;
  const double fps = wish.fps > 0 ? wish.fps : format.fps;
  std::int64_t count =
      wish.num_frames > 0 ? wish.num_frames : detail::frame_count(facts, format, temporal_patch_size, fps);
  count = std::clamp<std::int64_t>(count, 1, facts.frames);
  const bool strided = format.rule == FrameRule::strided && count >= temporal_patch_size;
  FrameChoice out{strided ? detail::strides(facts.frames, count) : detail::spread(facts.frames, count, detail::nearest),
                  facts.fps, 0};
  out.chosen_fps = static_cast<double>(out.frames.size()) / static_cast<double>(facts.frames) * facts.fps;
  return out;
}

/// Of a video to answer about, by the loader of --media-io-kwargs: the smaller of wish.num_frames and wish.fps frames
/// per second, spread over all of it. source  vLLM, multimodal/video.py, OpenCVVideoBackend.load_bytes
inline FrameChoice frames_by_loader(VideoFacts facts, const FrameWish& wish) {
  if (!(facts.fps > 0)) facts.fps = 24;
  std::int64_t count = facts.frames;
  if (wish.num_frames > 0) count = std::min(count, wish.num_frames);
  if (wish.fps > 0)
    count = std::min(count, static_cast<std::int64_t>(static_cast<double>(facts.frames) / facts.fps * wish.fps));
  FrameChoice out{detail::spread(facts.frames, std::max<std::int64_t>(count, 1), detail::truncated), facts.fps, 0};
  out.chosen_fps = static_cast<double>(out.frames.size()) / static_cast<double>(facts.frames) * facts.fps;
  return out;
}

}  // namespace lamina::vision
