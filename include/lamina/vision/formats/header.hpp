#pragma once
#include <lamina/vision/formats/bytes.hpp>
#include <lamina/vision/formats/decode_limits.hpp>
#include <lamina/vision/pixels.hpp>

#include <optional>

/// What an image's header says, read without decoding it: walked by hand for PNG, BMP, GIF and JPEG, so that limits are
/// checked on a few kilobytes of the file before a library allocates anything.

namespace lamina::vision {

/// The formats that decode_image knows.
enum class Format { jpeg, png, gif, bmp, webp, tiff };

struct ImageHeader {
  Format format{};
  ImageSize size{};  ///< of the decoded image
  /// Number of frames, if the header says so. Only the first one is decoded.
  std::optional<int> frames = 1;
  /// Whether decode_image returns an alpha channel, if the header says so.
  std::optional<bool> has_alpha = false;
  /// EXIF orientation, 1 (upright) to 8, that is not applied to the pixels. (Pillow, and so we, apply that of TIFF.)
  int orientation = 1;
  /// Upper bound of the memory that decode_image uses at once besides the file's own bytes, the result included.
  std::uint64_t working_bytes = 0;
};

namespace detail {

/// A 32-bit header field as a side; what does not fit becomes a number that check_size refuses with its pixels.
inline int side(std::uint32_t value) { return static_cast<int>(std::min<std::uint32_t>(value, 0x7fffffff)); }

/// Counts the segments, chunks or blocks before the pixels. Real files have a few hundred; without a bound, millions of
/// empty ones would be a slow way to say nothing.
class HeaderParts {
 public:
  void next(std::string_view name) {
    if (++count_ > max_parts)
      fail("image ", name, ": more than ", max_parts, " blocks before its pixels: save it again without metadata");
  }

 private:
  static constexpr int max_parts = 65536;
  int count_ = 0;
};

/// The orientation in EXIF data (a TIFF directory) of `length` bytes at `at`; 1 if there is none, or a broken one.
template <class Bytes>
int exif_orientation(Bytes& bytes, std::uint64_t at, std::uint64_t length) {
  std::array<std::uint8_t, 12> head{};
  const auto read = [&](std::uint64_t offset, std::size_t count) {
    return offset + count <= length && bytes.read(at + offset, std::span(head).first(count)) == count;
  };
  if (!read(0, 8) || (std::memcmp(&head[0], "II*\0", 4) != 0 && std::memcmp(&head[0], "MM\0*", 4) != 0)) return 1;
  const bool little = head[0] == 'I';
  const auto u16 = [&](int i) { return little ? le16(&head[i]) : be16(&head[i]); };
  const std::uint64_t directory = little ? le32(&head[4]) : be32(&head[4]);
  if (!read(directory, 2)) return 1;
  constexpr unsigned orientation_tag = 0x112, most_entries = 1000;
  const unsigned entries = std::min(u16(0), most_entries);
  for (unsigned i = 0; i < entries && read(directory + 2 + 12 * i, 12); ++i)
    if (u16(0) == orientation_tag) return u16(8) >= 1 && u16(8) <= 8 ? static_cast<int>(u16(8)) : 1;
  return 1;
}

template <class Bytes>
Format read_format(Bytes& bytes, std::string_view name) {
  using namespace std::string_view_literals;
  std::array<std::uint8_t, 16> head{};
  const std::size_t n = bytes.read(0, head);
  const auto begins = [&](std::string_view magic, std::size_t at = 0) {
    return n >= at + magic.size() && std::memcmp(head.data() + at, magic.data(), magic.size()) == 0;
  };
  if (n == 0) fail("image ", name, ": the file is empty");
  if (begins("\xff\xd8\xff")) return Format::jpeg;
  if (begins("\x89PNG\r\n\x1a\n")) return Format::png;
  if (begins("GIF87a") || begins("GIF89a")) return Format::gif;
  if (begins("BM")) return Format::bmp;
  if (begins("RIFF") && begins("WEBP", 8)) return Format::webp;
  if (begins("II*\0"sv) || begins("MM\0*"sv) || begins("II+\0"sv) || begins("MM\0+"sv)) return Format::tiff;
  if (begins("version https://"))
    fail("image ", name, ": is a git-lfs pointer, not the file itself: run \"git lfs pull\" in its folder");
  fail("image ", name, ": it is none of JPEG, PNG, GIF, BMP, WebP, TIFF: convert it, or remove it from the data");
}

/// Refuses an image that would need more than `limits` allow.
inline void check_limits(const ImageHeader& header, const DecodeLimits& limits, std::string_view name) {
  if (header.size.pixels() > limits.max_pixels)
    fail("image ", name, ": its header says ", header.size.width, " x ", header.size.height, " = ",
         header.size.pixels(), " pixels, at most ", limits.max_pixels, " are decoded: scale it down");
  if (header.working_bytes > limits.max_working_bytes)
    fail("image ", name, ": decoding its ", header.size.width, " x ", header.size.height, " pixels may take ",
         header.working_bytes, " bytes of memory, at most ", limits.max_working_bytes, " are allowed: scale it down");
}

}  // namespace detail
}  // namespace lamina::vision
