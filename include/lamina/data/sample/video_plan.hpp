#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/records.hpp>
#include <lamina/data/sample/media_path.hpp>
#include <lamina/model/chat_format.hpp>
#include <lamina/text/media_places.hpp>
#include <lamina/vision/image.hpp>
#include <lamina/vision/limit.hpp>
#include <lamina/vision/video/clip.hpp>
#include <lamina/vision/video/read_video.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace lamina::data {

/// How videos are read, under LLaMA-Factory's names.
struct VideoOptions {
  ImageLimits frames = {.max_pixels = 256 * 256, .min_pixels = 16 * 16};  ///< video_max_pixels, video_min_pixels
  double fps = 2;                                                         ///< video_fps
  std::int64_t maxlen = 128;                                              ///< video_maxlen
  int tokens_per_second = 0;                                              ///< the model's, of config.json
};

/// What a run sees of a video: which frames, when, and how large. Nothing of it is decoded.
struct VideoPlan {
  std::filesystem::path file;                 ///< empty: it is a list of images
  std::vector<std::filesystem::path> images;  ///< the list
  vision::FrameChoice choice;
  ImageLimits limits;              ///< of each frame, before the model's own
  std::vector<Grid> grids;         ///< one per run of its tokens
  std::vector<std::string> times;  ///< the text before each run, if text tells the time

  /// The grid of all its frames.
  Grid clip() const {
    Grid all = grids.front();
    all.t *= static_cast<int>(grids.size());
    return all;
  }
  std::string name() const {
    return file.empty() ? cat(images.front().string(), " and the frames after it") : file.string();
  }
};

/// The placeholders of a video as the layout writes them: "<0.5 seconds><|vision_start|>...<|vision_end|>" for each
/// group of frames, or one run for all.
inline std::string video_text(const VideoPlan& plan, VisualTokens tokens, const ChatFormat& format) {
  std::string out;
  for (std::size_t run = 0; run < plan.grids.size(); ++run) {
    if (!plan.times.empty()) out += plan.times[run];
    out += format.image_begin;
    for (int i = 0; i < tokens(plan.grids[run]); ++i) out += format.video_pad;
    out += format.image_end;
  }
  return out;
}

/// Plans the videos of a run, each once.
class VideoPlans {
 public:
  VideoPlans(const vision::Processor& processor, VideoOptions options, const ChatFormat& format)
      : processor_(&processor), options_(options), format_(&format) {}

  /// Error if the video is missing or cannot be read, or if the images of a list would become frames of several sizes.
  std::shared_ptr<const VideoPlan> plan(const ListedVideo& video, const std::filesystem::path& media_dir) {
    VideoPlan plan;
    plan.limits = options_.frames;
    std::string key;
    if (video.frames.empty()) plan.file = resolve_media(media_dir, video.file);
    key = plan.file.string();
    for (const std::string& frame : video.frames) {
      plan.images.push_back(resolve_media(media_dir, frame));
      key += '\0' + plan.images.back().string();
    }
    if (const auto known = plans_.find(key); known != plans_.end()) return known->second;
    measure(plan);
    return plans_[key] = std::make_shared<const VideoPlan>(std::move(plan));
  }

 private:
  void measure(VideoPlan& plan) const {
    const vision::ImageSize size = plan.file.empty() ? measure_list(plan) : measure_file(plan);
    const auto frames = static_cast<std::int64_t>(plan.choice.frames.size());
    const int temporal = processor_->temporal_patch_size;
    // LLaMA-Factory repeats the last frame before the processor counts them.
    const Grid clip = vision::clip_grid(*processor_, (frames + temporal - 1) / temporal * temporal, size);
    plan.grids = vision::grids_of_clip(clip, !format_->video_time_end.empty(), plan.choice.second_per_grid(temporal),
                                       options_.tokens_per_second);
    plan.times = text::time_texts(plan.choice.group_seconds(temporal), *format_);
  }
  vision::ImageSize limited(vision::ImageSize size) const {
    return vision::limited_size(size, options_.frames.min_pixels, options_.frames.max_pixels, processor_->shape);
  }
  vision::ImageSize measure_list(VideoPlan& plan) const {
    plan.choice = vision::listed_frames(static_cast<std::int64_t>(plan.images.size()), options_.fps);
    const vision::ImageSize first = limited(vision::read_image_size(plan.images.front()));
    for (const auto& path : plan.images)
      if (const vision::ImageSize size = limited(vision::read_image_size(path)); size != first)
        fail("video of images: ", path.string(), " becomes a frame of ", size.width, " x ", size.height,
             " pixels, the first one of ", first.width, " x ", first.height, ": all must have one size");
    return first;
  }
  vision::ImageSize measure_file(VideoPlan& plan) const {
    std::error_code none;
    if (!std::filesystem::exists(plan.file, none))
      fail("video ", plan.file.string(), " does not exist, neither there nor under media_dir");
    const vision::VideoFile file(plan.file);
    vision::VideoFacts facts = vision::read_video_facts(file);
    if (!(facts.fps > 0))
      fail("video ", plan.file.string(), ": its container does not say how many frames a second has");
    // A container that does not count its frames may not say how long it is either.
    const bool counted = facts.frames == 0 || facts.seconds < 0;
    if (counted) facts.frames = vision::count_video_frames(file, options_.maxlen).frames;
    if (facts.frames == 0) fail("video ", plan.file.string(), ": it has no frame");
    plan.choice = vision::frames_to_train_on(facts, counted, options_.fps, options_.maxlen);
    return limited(facts.size());
  }

  const vision::Processor* processor_;
  VideoOptions options_;
  const ChatFormat* format_;
  std::map<std::string, std::shared_ptr<const VideoPlan>> plans_;
};

/// Decodes a video's frames, resizes them as LLaMA-Factory and then the model's processor do, and writes the patches:
/// (plan.clip().patches(), row_length()).
inline void write_video(const VideoPlan& plan, const vision::Processor& processor, std::span<float> rows) {
  const Grid clip = plan.clip();
  const auto frames = static_cast<std::int64_t>(plan.choice.frames.size());
  const auto take = [&](std::size_t i, vision::Image image) {
    const vision::Image limited =
        vision::limit_pixels(std::move(image), plan.limits.min_pixels, plan.limits.max_pixels, processor.shape);
    vision::write_clip_frame(processor, limited, clip, static_cast<std::int64_t>(i), frames, rows);
  };
  if (!plan.file.empty()) return vision::read_frames(vision::VideoFile(plan.file), plan.choice.frames, take);
  for (std::size_t i = 0; i < plan.images.size(); ++i) take(i, vision::load_image(plan.images[i]));
}

}  // namespace lamina::data
