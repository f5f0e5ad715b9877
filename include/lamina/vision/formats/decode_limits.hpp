#pragma once
#include <lamina/core/error.hpp>
#include <lamina/vision/pixels.hpp>

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <stop_token>
#include <string>
#include <string_view>

namespace lamina::vision {

/// Bounds of the work that one image may cause. Only the first frame of an animation is ever decoded, so the number of
/// frames needs no bound. The defaults accept every image that Pillow opens, save those made to waste time.
struct DecodeLimits {
  std::int64_t max_pixels = max_image_pixels;
  /// Upper bound of ImageHeader::working_bytes: memory in use at once besides the file's own bytes.
  std::uint64_t max_working_bytes = std::numeric_limits<std::uint64_t>::max();
  /// Scans of a progressive JPEG. Encoders write about ten; each scan goes through all pixels again.
  int max_jpeg_scans = 100;
  /// Scans times pixels of a progressive JPEG: 44 scans of 24 megapixels. Sixteen scans are allowed at any size.
  std::int64_t max_jpeg_scan_pixels = std::int64_t{1} << 30;
  /// Processor time of the decoding thread.
  std::chrono::nanoseconds max_cpu_time = std::chrono::seconds(60);
  /// Ends decoding early, with an error.
  std::stop_token stop{};
};

namespace detail {

/// Scans that a progressive JPEG of so many pixels may have.
inline int most_jpeg_scans(const DecodeLimits& limits, std::int64_t pixels) {
  const std::int64_t by_work =
      std::max<std::int64_t>(16, limits.max_jpeg_scan_pixels / std::max<std::int64_t>(pixels, 1));
  return static_cast<int>(std::min<std::int64_t>(limits.max_jpeg_scans, by_work));
}

/// Processor time that this thread has used.
inline std::chrono::nanoseconds thread_cpu_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

/// The image being decoded and its limits. Decoders call check() for every row, scan line or piece of input.
class DecodeTask {
 public:
  DecodeTask(std::string_view name, const DecodeLimits& limits)
      : name(name), limits(limits), started_(thread_cpu_time()) {}

  /// Why decoding must end now; empty to go on. `bytes` is the work since the last call: the clock and the stop token
  /// are read once per 64 KiB of it.
  std::string stopped(std::size_t bytes) {
    work_ += bytes;
    if (work_ < std::size_t{64} << 10) return {};
    work_ = 0;
    if (limits.stop.stop_requested()) return "decoding was cancelled";
    if (thread_cpu_time() - started_ > limits.max_cpu_time)
      return cat("it takes more than ", std::chrono::duration<double>(limits.max_cpu_time).count(),
                 " s of processor time: save it again as a common JPEG or PNG");
    return {};
  }

  /// Throws if decoding must end.
  void check(std::size_t bytes) {
    if (const std::string why = stopped(bytes); !why.empty()) fail("image ", name, ": ", why);
  }

  std::string_view name;
  const DecodeLimits& limits;

 private:
  std::chrono::nanoseconds started_;
  std::size_t work_ = 0;
};

}  // namespace detail
}  // namespace lamina::vision
