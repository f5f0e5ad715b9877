#pragma once
#include <lamina/vision/pixels.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// What a picture's header says, read without decoding it: format and size, from memory or from a file of which only
/// the headers are read.

namespace lamina::vision {

/// The formats that decode_image knows.
enum class Format { jpeg, png, gif, bmp, webp };

namespace detail {

/// Bytes in memory.
struct MemoryBytes {
  std::span<const std::uint8_t> bytes;
  std::uint64_t size() const { return bytes.size(); }
  /// Copies what there is from `offset` on; returns the number of bytes copied.
  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> to) {
    if (offset >= bytes.size()) return 0;
    const std::size_t n = std::min<std::size_t>(to.size(), bytes.size() - offset);
    std::memcpy(to.data(), bytes.data() + offset, n);
    return n;
  }
};

/// Bytes of a file, read where asked.
struct FileBytes {
  std::ifstream file;
  std::uint64_t file_size = 0;
  explicit FileBytes(const std::filesystem::path& path) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) fail("image ", path.string(), ": no such file: correct its path");
    if (!std::filesystem::is_regular_file(path, error)) fail("image ", path.string(), ": not a file");
    file.open(path, std::ios::binary);
    if (!file) fail("image ", path.string(), ": cannot be opened for reading: check its permissions");
    file_size = std::filesystem::file_size(path);
  }
  std::uint64_t size() const { return file_size; }
  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> to) {
    if (offset >= file_size) return 0;
    file.clear();
    file.seekg(static_cast<std::streamoff>(offset));
    file.read(reinterpret_cast<char*>(to.data()), static_cast<std::streamsize>(to.size()));
    return static_cast<std::size_t>(file.gcount());
  }
};

inline unsigned le16(const std::uint8_t* p) { return p[0] | p[1] << 8; }
inline unsigned be16(const std::uint8_t* p) { return p[0] << 8 | p[1]; }
inline std::uint32_t le32(const std::uint8_t* p) { return le16(p) | static_cast<std::uint32_t>(le16(p + 2)) << 16; }
inline std::uint32_t be32(const std::uint8_t* p) { return static_cast<std::uint32_t>(be16(p)) << 16 | be16(p + 2); }

/// Reads exactly N bytes, or says that the file is cut off.
template <std::size_t N, class Bytes>
std::array<std::uint8_t, N> read_exactly(Bytes& bytes, std::uint64_t offset, std::string_view name) {
  std::array<std::uint8_t, N> out{};
  if (bytes.read(offset, out) != N)
    fail("image ", name, ": its header ends after ", bytes.size(), " bytes: the file is truncated, copy it again");
  return out;
}

/// A 32-bit header field as a side; what does not fit becomes a number that check_size refuses with its pixels.
inline int side(std::uint32_t value) { return static_cast<int>(std::min<std::uint32_t>(value, 0x7fffffff)); }

template <class Bytes>
Format read_format(Bytes& bytes, std::string_view name) {
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
  fail("image ", name, ": it is none of JPEG, PNG, GIF, BMP, WebP: convert it, or remove it from the data");
}

/// The size in the first frame header (SOF0..SOF15, baseline or progressive), found by walking the segments before it.
template <class Bytes>
ImageSize jpeg_size(Bytes& bytes, std::string_view name) {
  for (std::uint64_t at = 2;;) {
    auto marker = read_exactly<2>(bytes, at, name);
    if (marker[0] != 0xff) fail("image ", name, ": not a JPEG marker at byte ", at, ": the file is broken");
    if (marker[1] == 0xff) {  // fill byte
      ++at;
      continue;
    }
    const unsigned code = marker[1];
    at += 2;
    if (code == 0x01 || (code >= 0xd0 && code <= 0xd8)) continue;  // TEM, RSTn, SOI stand alone
    if (code == 0xd9 || code == 0xda) fail("image ", name, ": JPEG data without a frame header: the file is broken");
    if (code >= 0xc0 && code <= 0xcf && code != 0xc4 && code != 0xc8 && code != 0xcc) {
      const auto frame = read_exactly<7>(bytes, at, name);  // length, precision, height, width
      return {static_cast<int>(be16(&frame[5])), static_cast<int>(be16(&frame[3]))};
    }
    const unsigned length = be16(read_exactly<2>(bytes, at, name).data());
    if (length < 2) fail("image ", name, ": a JPEG segment of length ", length, ": the file is broken");
    at += length;
  }
}

template <class Bytes>
ImageSize bmp_size(Bytes& bytes, std::string_view name) {
  const auto head = read_exactly<26>(bytes, 0, name);
  if (le32(&head[14]) == 12)  // OS/2 1.x: 16-bit sides
    return {static_cast<int>(le16(&head[18])), static_cast<int>(le16(&head[20]))};
  const std::uint32_t height = le32(&head[22]);  // negative: rows from the top
  return {side(le32(&head[18])), side(height & 0x80000000u ? 0u - height : height)};
}

/// The canvas of an extended file, else the size of its only VP8 or VP8L frame (RFC 9649).
template <class Bytes>
ImageSize webp_size(Bytes& bytes, std::string_view name) {
  const auto head = read_exactly<30>(bytes, 0, name);
  const std::string_view chunk(reinterpret_cast<const char*>(&head[12]), 4);
  if (chunk == "VP8X")
    return {static_cast<int>(le16(&head[24]) | head[26] << 16) + 1,
            static_cast<int>(le16(&head[27]) | head[29] << 16) + 1};
  if (chunk == "VP8 ") return {static_cast<int>(le16(&head[26]) & 0x3fff), static_cast<int>(le16(&head[28]) & 0x3fff)};
  if (chunk == "VP8L" && head[20] == 0x2f) {
    const std::uint32_t bits = le32(&head[21]);
    return {static_cast<int>(bits & 0x3fff) + 1, static_cast<int>(bits >> 14 & 0x3fff) + 1};
  }
  fail("image ", name, ": no WebP frame where one must be: the file is broken");
}

/// The size that the header states, checked against max_image_pixels.
template <class Bytes>
ImageSize read_size(Bytes& bytes, Format format, std::string_view name) {
  ImageSize size;
  switch (format) {
    case Format::jpeg:
      size = jpeg_size(bytes, name);
      break;
    case Format::bmp:
      size = bmp_size(bytes, name);
      break;
    case Format::webp:
      size = webp_size(bytes, name);
      break;
    case Format::png: {
      const auto head = read_exactly<24>(bytes, 0, name);
      size = {side(be32(&head[16])), side(be32(&head[20]))};
      break;
    }
    case Format::gif: {
      const auto head = read_exactly<10>(bytes, 0, name);
      size = {static_cast<int>(le16(&head[6])), static_cast<int>(le16(&head[8]))};
      break;
    }
  }
  check_size(size, name);
  return size;
}

}  // namespace detail

/// The size of a picture, from its header alone; nothing is decoded. Errors as decode_image's for a broken header.
inline ImageSize read_image_size(const std::filesystem::path& path) {
  detail::FileBytes bytes(path);
  const std::string name = path.string();
  return detail::read_size(bytes, detail::read_format(bytes, name), name);
}

}  // namespace lamina::vision
