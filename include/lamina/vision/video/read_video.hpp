#pragma once
#include <lamina/vision/video/decoder_process.hpp>
#include <lamina/vision/video/messages.hpp>
#include <lamina/vision/video/video_file.hpp>

#include <cstdint>
#include <span>
#include <string>

/// Videos, decoded by FFmpeg's libraries in another process (examples/decode_video.cpp) within limits of time, memory
/// and pixels: a file that crashes, hangs or swells the decoder is one error here.
namespace lamina::vision {

/// What the container says; nothing is decoded. lamina::Error naming the video if it is none, or beyond the limits.
inline VideoFacts read_video_facts(const VideoFile& file, const VideoLimits& limits = {}) {
  detail::DecoderProcess process(file, "facts", limits);
  return detail::read_answer(process, std::span<const std::int64_t>(), limits.max_pixels, file.name(),
                             [](std::size_t, Image) {});
}

/// The same, with the number of frames found by decoding them, up to `most`.
inline VideoFacts count_video_frames(const VideoFile& file, std::int64_t most, const VideoLimits& limits = {}) {
  detail::DecoderProcess process(file, cat("count:", most), limits);
  return detail::read_answer(process, std::span<const std::int64_t>(), limits.max_pixels, file.name(),
                             [](std::size_t, Image) {});
}

/// Decodes the frames of these numbers, ascending, to the pixels of PyAV's VideoFrame.to_image(): no rotation is
/// applied. take(position, image) gets one after the other; only one is in memory at a time. Errors as above, and if
/// the video has fewer frames or changes its size.
template <class Take>
void read_frames(const VideoFile& file, std::span<const std::int64_t> frames, Take take,
                 const VideoLimits& limits = {}) {
  std::string numbers;
  for (const std::int64_t frame : frames) numbers += cat(numbers.empty() ? "" : ",", frame);
  if (frames.empty()) return;
  detail::DecoderProcess process(file, numbers, limits);
  detail::read_answer(process, frames, limits.max_pixels, file.name(), take);
}

}  // namespace lamina::vision
