#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/text/media_places.hpp>
#include <lamina/vision/processor.hpp>
#include <lamina/vision/video/clip.hpp>
#include <lamina/vision/video/read_video.hpp>

namespace lamina::serve {

/// A video of a prompt: which frames are seen, and how large they are. Nothing is decoded.
struct PromptVideo {
  std::shared_ptr<const vision::VideoFile> file;
  vision::FrameChoice choice;
  vision::ImageSize size;
};

/// Who chooses a video's frames: the model's processor, with what a request says to it; or, if that is silent and the
/// loader is not, the loader.
struct FrameRules {
  vision::FrameWish processor, loader;
};

/// Reads what a video's container says and chooses its frames. Errors as read_video_facts()'s.
inline PromptVideo open_video(std::shared_ptr<const vision::VideoFile> file, const vision::Processor& processor,
                              const FrameRules& rules = {}, const vision::VideoLimits& limits = {}) {
  constexpr std::int64_t most_counted = 1'000'000;
  vision::VideoFacts facts = vision::read_video_facts(*file, limits);
  if (facts.frames == 0) facts.frames = vision::count_video_frames(*file, most_counted, limits).frames;
  if (facts.frames == 0) fail("video ", file->name(), ": it has no frame");
  PromptVideo out{std::move(file), {}, facts.size()};
  out.choice =
      rules.loader.any() && !rules.processor.any()
          ? vision::frames_by_loader(facts, rules.loader)
          : vision::frames_to_answer_about(facts, processor.video, processor.temporal_patch_size, rules.processor);
  return out;
}

/// A video as the prompt shows it.
struct VideoPlace {
  std::vector<std::string> times;  ///< before each run of its tokens; none if positions tell the time
  std::vector<Grid> grids;         ///< of each run

  /// The grid of all its frames.
  Grid clip() const {
    Grid all = grids.front();
    all.t *= static_cast<int>(grids.size());
    return all;
  }
};

inline VideoPlace place_video(const PromptVideo& video, const vision::Processor& processor, const ChatFormat& format,
                              int tokens_per_second) {
  const int temporal = processor.temporal_patch_size;
  const Grid clip = vision::clip_grid(processor, std::ssize(video.choice.frames), video.size);
  const bool timed_by_text = !format.video_time_end.empty();
  return {text::time_texts(video.choice.group_seconds(temporal), format),
          vision::grids_of_clip(clip, timed_by_text, video.choice.second_per_grid(temporal), tokens_per_second)};
}

/// Decodes a video's frames into patches: (clip.patches(), row_length()). Errors as read_frames()'s.
inline void write_patches(const PromptVideo& video, const Grid& clip, const vision::Processor& processor,
                          std::span<float> rows, const vision::VideoLimits& limits = {}) {
  const auto frames = std::ssize(video.choice.frames);
  vision::read_frames(
      *video.file, video.choice.frames,
      [&](std::size_t i, const vision::Image& image) {
        vision::write_clip_frame(processor, image, clip, static_cast<std::int64_t>(i), frames, rows);
      },
      limits);
}

}  // namespace lamina::serve
