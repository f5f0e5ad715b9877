#pragma once
#include <lamina/core/error.hpp>
#include <lamina/vision/pixels.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <type_traits>

/// What the program lamina-decode-video writes to its stdout: a VideoFacts, then a FrameHeader and (height, width, 3)
/// bytes of RGB for each frame that was asked for, in order. Both programs come from one build, so these are the bytes
/// of the structs. The decoder may have been taken over by a hostile file, so its reader believes nothing.
namespace lamina::vision {

/// What a video's container says, and with Counting::frames what decoding it found.
struct VideoFacts {
  std::int64_t frames = 0;  ///< 0: the container does not say
  double seconds = -1;      ///< of the video stream; below 0: the container does not say
  double fps = 0;           ///< average; 0: the container does not say
  std::int32_t width = 0, height = 0;
  ImageSize size() const { return {width, height}; }
};

/// Precedes a frame's pixels.
struct FrameHeader {
  std::int64_t number = 0;  ///< of the frame in the stream, from 0, in the order in which frames are shown
  std::int32_t width = 0, height = 0;
};

static_assert(std::is_trivially_copyable_v<VideoFacts> && sizeof(VideoFacts) == 32);
static_assert(std::is_trivially_copyable_v<FrameHeader> && sizeof(FrameHeader) == 16);

namespace detail {

/// Refuses what no video has.
inline void check_facts(const VideoFacts& facts, std::int64_t max_pixels, std::string_view name) {
  if (facts.width < 1 || facts.height < 1 || facts.size().pixels() > max_pixels)
    fail("video ", name, ": its frames have ", facts.width, " x ", facts.height, " pixels, wanted 1 to ", max_pixels,
         ": scale it down");
  if (facts.frames < 0 || facts.frames > std::numeric_limits<std::int32_t>::max())
    fail("video ", name, ": it says that it has ", facts.frames, " frames: the file is broken");
  if (!std::isfinite(facts.seconds) || facts.seconds > 1e9 || !std::isfinite(facts.fps) || facts.fps < 0)
    fail("video ", name, ": it says that it lasts ", facts.seconds, " s at ", facts.fps,
         " frames per second: the file is broken");
}

inline void check_frame(const FrameHeader& frame, std::int64_t wanted, const VideoFacts& facts, std::string_view name) {
  if (frame.number != wanted) fail("video ", name, ": frame ", frame.number, " came in place of frame ", wanted);
  if (frame.width != facts.width || frame.height != facts.height)
    fail("video ", name, ": frame ", wanted, " has ", frame.width, " x ", frame.height, " pixels, the others ",
         facts.width, " x ", facts.height, ": all frames of a video must have one size");
}

/// Reads a struct or bytes through read(pointer, count), which throws if they do not come.
template <class T, class Read>
T read_struct(Read& read) {
  T value;
  read(&value, sizeof value);
  return value;
}

/// Reads an answer: the facts, then the frames of these numbers. take(position, image) gets each frame.
template <class Read, class Frames, class Take>
VideoFacts read_answer(Read& read, const Frames& frames, std::int64_t max_pixels, std::string_view name, Take take) {
  const auto facts = read_struct<VideoFacts>(read);
  check_facts(facts, max_pixels, name);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    check_frame(read_struct<FrameHeader>(read), frames[i], facts, name);
    Image image{.width = facts.width, .height = facts.height};
    image.rgb.resize(static_cast<std::size_t>(facts.size().pixels()) * 3);
    read(image.rgb.data(), image.rgb.size());
    take(i, std::move(image));
  }
  return facts;
}

}  // namespace detail
}  // namespace lamina::vision
