#pragma once
#include <lamina/vision/bmp.hpp>
#include <lamina/vision/gif.hpp>
#include <lamina/vision/header.hpp>
#include <lamina/vision/jpeg.hpp>
#include <lamina/vision/limit.hpp>
#include <lamina/vision/pixels.hpp>
#include <lamina/vision/png.hpp>
#include <lamina/vision/webp.hpp>

namespace lamina::vision {

/// Decodes a JPEG, PNG, GIF (first frame), BMP or WebP file to the pixels of Pillow's Image.open(f).convert("RGB").
/// EXIF rotation is not applied, as Pillow does not. Known differences: 16-bit BMP may differ by one level, a CMYK
/// picture is converted before it is resized; animated WebP and compressed BMP are refused.
///
/// errors   lamina::Error naming `name`: not a picture, truncated, damaged, more than max_image_pixels, or a format
/// that
///          this build lacks (WebP without libwebp). Nothing large is allocated before the header proves plausible.
inline Image decode_image(std::span<const std::uint8_t> bytes, std::string_view name) {
  detail::MemoryBytes source{bytes};
  const Format format = detail::read_format(source, name);
  const ImageSize size = detail::read_size(source, format, name);
  switch (format) {
    case Format::png:
      return detail::decode_png(bytes, size, name);
    case Format::gif:
      return detail::decode_gif(bytes, size, name);
    case Format::bmp:
      return detail::decode_bmp(bytes, size, name);
    case Format::jpeg:
#if defined(LAMINA_HAS_JPEG)
      return detail::decode_jpeg(bytes, size, name);
#else
      detail::check_plausible(size, bytes.size(), 512, name);
      return detail::stb_rgb(bytes, size, false, name);
#endif
    case Format::webp:
#if defined(LAMINA_HAS_WEBP)
      return detail::decode_webp(bytes, size, name);
#else
      break;
#endif
  }
  fail("image ", name, ": WebP, which this build cannot read: install libwebp and build again, or convert it to PNG");
}

/// Reads and decodes a file; as decode_image, with the path as the name.
inline Image load_image(const std::filesystem::path& path) {
  detail::FileBytes file(path);
  const std::string name = path.string();
  detail::read_size(file, detail::read_format(file, name), name);  // refuses what is no picture before reading it whole
  std::vector<std::uint8_t> bytes(file.size());
  if (file.read(0, bytes) != bytes.size()) fail("image ", name, ": cannot be read: ", bytes.size(), " bytes expected");
  return decode_image(bytes, name);
}

}  // namespace lamina::vision
