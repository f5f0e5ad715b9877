#pragma once
#include <lamina/vision/formats/bmp.hpp>
#include <lamina/vision/formats/gif.hpp>
#include <lamina/vision/formats/header.hpp>
#include <lamina/vision/formats/jpeg.hpp>
#include <lamina/vision/formats/png.hpp>
#include <lamina/vision/formats/tiff.hpp>
#include <lamina/vision/formats/webp.hpp>
#include <lamina/vision/limit.hpp>
#include <lamina/vision/pixels.hpp>

namespace lamina::vision {
namespace detail {

template <class Bytes>
ImageHeader read_header(Bytes& bytes, std::string_view name) {
  switch (read_format(bytes, name)) {
    case Format::jpeg:
      return jpeg_header(bytes, name);
    case Format::png:
      return png_header(bytes, name);
    case Format::gif:
      return gif_header(bytes, name);
    case Format::bmp:
      return bmp_header(bytes, name);
    case Format::webp:
      return webp_header(bytes, name);
    case Format::tiff:
#if defined(LAMINA_HAS_TIFF)
      return tiff_header(bytes, name);
#else
      break;
#endif
  }
  fail("image ", name,
       ": TIFF, which this build cannot read: install libtiff 4.5 and build again, or convert it to PNG");
}

}  // namespace detail

/// Reads the header of an image in memory. `name` is used in messages. lamina::Error for bytes that are no image, for a
/// header that is cut off or cannot belong to a file of this length, and for more than max_image_pixels.
inline ImageHeader read_image_header(std::span<const std::uint8_t> bytes, std::string_view name) {
  detail::MemoryBytes memory{bytes};
  return detail::read_header(memory, name);
}

/// The same for an open file, of which only the parts with headers are read.
inline ImageHeader read_image_header(ImageFile& file) { return detail::read_header(file, file.name()); }

/// The size of an image file, from its header alone.
inline ImageSize read_image_size(const std::filesystem::path& path) {
  ImageFile file(path);
  return read_image_header(file).size;
}

/// Decodes the first frame of a JPEG, PNG, GIF, BMP, WebP or TIFF file to the pixels of Pillow's
/// Image.open(f).convert("RGB"), and refuses what Pillow refuses as broken. EXIF orientation is not applied, as Pillow
/// does not (but to TIFF). Known difference: a CMYK image is converted before it is resized.
///
/// memory   the header's working_bytes at most, besides `bytes`
/// errors   lamina::Error naming `name`: read_image_header's, truncated or damaged data, more work than `limits` allow,
///          or a format that this build lacks (WebP without libwebp, TIFF without libtiff).
inline Image decode_image(std::span<const std::uint8_t> bytes, std::string_view name, const DecodeLimits& limits = {}) {
  const ImageHeader header = read_image_header(bytes, name);
  detail::check_limits(header, limits, name);
  detail::DecodeTask task(name, limits);
  switch (header.format) {
    case Format::jpeg:
      return detail::decode_jpeg(bytes, header, task);
    case Format::png:
      return detail::decode_png(bytes, task);
    case Format::gif:
      return detail::decode_gif(bytes, task);
    case Format::bmp:
      return detail::decode_bmp(bytes, task);
    case Format::webp:
#if defined(LAMINA_HAS_WEBP)
      return detail::decode_webp(bytes, header, task);
#else
      break;
#endif
    case Format::tiff:
#if defined(LAMINA_HAS_TIFF)
      return detail::decode_tiff(bytes, header, task);
#else
      break;
#endif
  }
  fail("image ", name, ": WebP, which this build cannot read: install libwebp and build again, or convert it to PNG");
}

/// Reads and decodes an open file; memory and errors as decode_image's, and memory for the file's bytes.
inline Image load_image(ImageFile& file, const DecodeLimits& limits = {}) {
  // What is no image, or too large, is refused before the file is read whole.
  detail::check_limits(read_image_header(file), limits, file.name());
  return decode_image(file.read_all(), file.name(), limits);
}

inline Image load_image(const std::filesystem::path& path, const DecodeLimits& limits = {}) {
  ImageFile file(path);
  return load_image(file, limits);
}

}  // namespace lamina::vision
