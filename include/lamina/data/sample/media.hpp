#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/records.hpp>
#include <lamina/data/sample/media_path.hpp>
#include <lamina/model/chat_format.hpp>
#include <lamina/vision/image.hpp>
#include <lamina/vision/limit.hpp>
#include <lamina/vision/processor.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::data {

inline constexpr std::string_view image_placeholder = "<image>", video_placeholder = "<video>",
                                  audio_placeholder = "<audio>";

/// How often `word` occurs in `text`.
inline int occurrences(std::string_view text, std::string_view word) {
  int count = 0;
  if (word.empty()) return 0;
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + word.size())) ++count;
  return count;
}

/// Counts the placeholders of all turns against the media that the record lists, and refuses what cannot be trained
/// on. Fails with one message that does not repeat the origin.
inline void check_media(const Conversation& conversation, const ChatFormat& format) {
  const std::string_view image_pad = format.image_pad, video_pad = format.video_pad;
  int images = 0, videos = 0, audios = 0, pads = 0;
  for (const Turn& turn : conversation.turns) {
    images += occurrences(turn.content, image_placeholder);
    videos += occurrences(turn.content, video_placeholder);
    audios += occurrences(turn.content, audio_placeholder);
    pads += occurrences(turn.content, image_pad) + occurrences(turn.content, video_pad);
  }
  pads += occurrences(conversation.system, image_pad) + occurrences(conversation.system, video_pad);
  pads += occurrences(conversation.tools, image_pad) + occurrences(conversation.tools, video_pad);
  if (conversation.audios || audios) fail("audio is not supported: take the record out of the data set");
  if (pads)
    fail("the text holds ", image_pad, " or ", video_pad,
         ", which stands for an image or a video: write <image> or <video>");
  const auto check = [](int found, std::size_t listed, std::string_view placeholder, std::string_view what) {
    if (static_cast<std::size_t>(found) != listed)
      fail("the messages hold ", found, " ", placeholder, " and the record lists ", listed, " ", what,
           listed == 1 ? "" : "s", ": each ", placeholder, " needs its own path, in order");
  };
  check(images, conversation.images.size(), image_placeholder, "image");
  check(videos, conversation.videos.size(), video_placeholder, "video");
  if (videos > 0 && video_pad.empty())
    fail("models of this family read no videos: take the record out of the data set");
}

/// Answers what patches an image file has, from its header alone; asks each file once.
class ImageGrids {
 public:
  ImageGrids(const vision::Processor& processor, ImageLimits limits) : processor_(&processor), limits_(limits) {}

  /// The image's grid. A missing or unreadable file is an error.
  Grid of(const std::filesystem::path& path) {
    const auto [entry, added] = grids_.try_emplace(path.string());
    if (!added) return entry->second;
    try {
      entry->second = measure(path);
    } catch (...) {
      grids_.erase(entry);
      throw;
    }
    return entry->second;
  }

 private:
  Grid measure(const std::filesystem::path& path) const {
    std::error_code none;
    if (!std::filesystem::exists(path, none)) {
      fail("image ", path.string(), " does not exist, neither there nor under media_dir");
    }
    const vision::ImageSize size = vision::read_image_size(path);
    const vision::ImageSize limited =
        vision::limited_size(size, limits_.min_pixels, limits_.max_pixels, processor_->shape);
    return processor_->grid_for(limited);
  }

  const vision::Processor* processor_;
  ImageLimits limits_;
  std::map<std::string, Grid> grids_;
};

}  // namespace lamina::data
