#pragma once
#include <fmt/format.h>
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/model/chat_format.hpp>
#include <lamina/text/prompt_segment.hpp>

/// The places of images and videos in a prompt. A chat template writes one pad for each; the model reads as many as
/// the image has tokens, and a video's time between them.
namespace lamina::text {

/// "<0.5 seconds>" for each group of frames of a video; none if positions tell the time.
inline std::vector<std::string> time_texts(std::span<const double> seconds, const ChatFormat& format) {
  std::vector<std::string> out;
  if (format.video_time_end.empty()) return out;
  for (const double second : seconds)
    out.push_back(fmt::format("{}{:.1f}{}", format.video_time_begin, second, format.video_time_end));
  return out;
}

/// A video's place with one pad for each run of its tokens: the times with marks and pad of their own, or the marks and
/// one pad.
inline std::string video_place(std::span<const std::string> times, const ChatFormat& format) {
  if (times.empty()) return cat(format.image_begin, format.video_pad, format.image_end);
  std::string out;
  for (const std::string& time : times) out += cat(time, format.image_begin, format.video_pad, format.image_end);
  return out;
}

/// Puts video_place() in place of the i-th video that the template shows, with or without its marks. Error if it shows
/// another number of videos.
inline std::vector<PromptSegment> with_video_times(std::vector<PromptSegment> prompt,
                                                   std::span<const std::vector<std::string>> times_of_videos,
                                                   const ChatFormat& format) {
  const std::string marked = video_place({}, format);
  std::size_t video = 0;
  for (PromptSegment& segment : prompt) {
    if (!segment.is_template || format.video_pad.empty()) continue;
    std::string out;
    std::string_view left = segment.text;
    for (std::size_t pad; (pad = left.find(format.video_pad)) != left.npos; ++video) {
      const bool has_marks =
          pad >= format.image_begin.size() && left.substr(pad - format.image_begin.size()).starts_with(marked);
      const std::size_t before = has_marks ? format.image_begin.size() : 0,
                        size = has_marks ? marked.size() : format.video_pad.size();
      out += left.substr(0, pad - before);
      if (video < times_of_videos.size()) out += video_place(times_of_videos[video], format);
      left.remove_prefix(pad - before + size);
    }
    segment.text = out.append(left);
  }
  if (video != times_of_videos.size())
    fail("messages: ", times_of_videos.size(), " videos, but the chat template shows ", video,
         ": does a system or assistant message hold one?");
  return prompt;
}

/// Repeats each pad as often as its image, or run of a video, has tokens. The prompt must have one for each.
inline std::vector<int> expand_media(std::span<const int> ids, VisionTokens pads, std::span<const int> image_tokens,
                                     std::span<const int> video_tokens = {}) {
  const auto check = [&](int pad, std::size_t wanted, std::string_view what) {
    const auto places = static_cast<std::size_t>(pad < 0 ? 0 : std::count(ids.begin(), ids.end(), pad));
    if (places != wanted)
      fail("the prompt has ", places, " places for ", wanted, " ", what, ": each needs exactly one place");
  };
  check(pads.image, image_tokens.size(), "images");
  check(pads.video, video_tokens.size(), "groups of frames of videos");
  std::vector<int> out;
  std::size_t image = 0, run = 0;
  for (const int id : ids) {
    const int times = !pads(id) ? 1 : id == pads.image ? image_tokens[image++] : video_tokens[run++];
    if (times < 1) fail("an image or a video has ", times, " tokens, wanted at least 1");
    out.insert(out.end(), static_cast<std::size_t>(times), id);
  }
  return out;
}

}  // namespace lamina::text
