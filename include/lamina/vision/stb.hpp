#pragma once
#include <lamina/vision/header.hpp>

#include <memory>

// stb_image as a private copy of this translation unit: static functions, none of the formats that we do not read.
#if !defined(STB_IMAGE_IMPLEMENTATION)
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_NO_PSD
#define STBI_NO_TGA
#define STBI_NO_PIC
#define STBI_NO_PNM
#define STBI_MAX_DIMENSIONS 0x7fffffff  // max_image_pixels is the limit
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb_image.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#endif

namespace lamina::vision::detail {

using StbPixels = std::unique_ptr<stbi_uc, void (*)(void*)>;

/// Decodes to `channels` interleaved bytes a pixel, checking the size that the header gave.
inline StbPixels stb_decode(std::span<const std::uint8_t> bytes, ImageSize size, int channels, std::string_view name) {
  if (bytes.size() > 0x7fffffff) fail("image ", name, ": ", bytes.size(), " bytes, at most 2 GiB are decoded");
  int width = 0, height = 0, found = 0;
  StbPixels pixels(
      stbi_load_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height, &found, channels),
      stbi_image_free);
  if (!pixels)
    fail("image ", name, ": broken, truncated or of an unsupported kind (", stbi_failure_reason(),
         "): save it again as a common PNG or JPEG");
  if (ImageSize{width, height} != size)
    fail("image ", name, ": decoded to ", width, " x ", height, ", its header says ", size.width, " x ", size.height);
  return pixels;
}

/// As Image without alpha.
inline Image stb_rgb(std::span<const std::uint8_t> bytes, ImageSize size, bool indexed, std::string_view name) {
  const StbPixels pixels = stb_decode(bytes, size, 3, name);
  return {size.width, size.height, {pixels.get(), pixels.get() + size.pixels() * 3}, {}, indexed};
}

}  // namespace lamina::vision::detail
