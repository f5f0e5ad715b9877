#pragma once
#include <lamina/core/error.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace lamina::vision {

/// Width and height in pixels.
struct ImageSize {
  int width = 0, height = 0;
  std::int64_t pixels() const { return std::int64_t{width} * height; }
  bool operator==(const ImageSize&) const = default;
};

/// A decoded image. rgb is what models see: (height, width, 3), row-major, alpha dropped without blending.
///
/// The other members remember what the file held, because Pillow resizes before it converts to RGB: with alpha the
/// colours are weighted by it (bicubic on premultiplied colour), palette and 1-bit images take the nearest pixel.
/// limit_pixels does the same and then forgets them.
struct Image {
  int width = 0, height = 0;
  std::vector<std::uint8_t> rgb{};    ///< (height, width, 3)
  std::vector<std::uint8_t> alpha{};  ///< (height, width), or empty
  bool indexed = false;               ///< the file held palette indices or single bits
  bool grey = false;                  ///< the alpha channel came with grey (Pillow's mode LA), not with colour (RGBA)
  ImageSize size() const { return {width, height}; }
};

/// Images above this many pixels are refused before anything is decoded. Pillow's own limit (twice its
/// MAX_IMAGE_PIXELS), so that a dataset which Pillow opens opens here.
inline constexpr std::int64_t max_image_pixels = 178'956'970;

namespace detail {

/// Refuses sizes that no image has or that would not fit into memory.
inline void check_size(ImageSize size, std::string_view name) {
  if (size.width <= 0 || size.height <= 0)
    fail("image ", name, ": its header says ", size.width, " x ", size.height,
         " pixels, both must be at least 1: the file is broken");
  if (size.pixels() > max_image_pixels)
    fail("image ", name, ": its header says ", size.width, " x ", size.height, " = ", size.pixels(),
         " pixels, at most ", max_image_pixels, " are decoded: scale it down");
}

/// Refuses a header whose image cannot be in a file of this length, however well it compresses: then the file is
/// truncated, or made to exhaust memory.
inline void check_plausible(ImageSize size, std::size_t file_bytes, std::int64_t pixels_per_byte,
                            std::string_view name) {
  if (size.pixels() > static_cast<std::int64_t>(file_bytes) * pixels_per_byte)
    fail("image ", name, ": its header says ", size.width, " x ", size.height, " pixels, but the file has only ",
         file_bytes, " bytes: it is truncated or broken, copy it again");
}

/// v / 255, rounded, for v up to 255 * 255: Pillow's DIV255.
inline int div_255(int v) {
  const int t = v + 128;
  return ((t >> 8) + t) >> 8;
}

/// (height, width, 4) rows to colours and alpha.
inline Image split_alpha(ImageSize size, const std::uint8_t* rgba) {
  const auto pixels = static_cast<std::size_t>(size.pixels());
  Image image{.width = size.width, .height = size.height};
  image.rgb.resize(pixels * 3);
  image.alpha.resize(pixels);
  for (std::size_t i = 0; i < pixels; ++i) {
    std::copy(rgba + 4 * i, rgba + 4 * i + 3, image.rgb.begin() + static_cast<std::ptrdiff_t>(3 * i));
    image.alpha[i] = rgba[4 * i + 3];
  }
  return image;
}

}  // namespace detail

using Colour = std::array<std::uint8_t, 3>;  ///< red, green, blue

/// Makes an image plain RGB as vLLM does: one with colour and alpha (Pillow's mode RGBA) is put on `background`; grey
/// with alpha and palettes with transparency keep their colours.
/// source  vLLM, multimodal/media/image.py, ImageMediaIO; multimodal/image.py, convert_image_mode
inline void put_on_background(Image& image, Colour background) {
  if (!image.grey)
    for (std::size_t i = 0; i < image.alpha.size(); ++i)
      for (int c = 0; c < 3; ++c) {
        const int alpha = image.alpha[i];
        std::uint8_t& value = image.rgb[3 * i + c];
        value = static_cast<std::uint8_t>(detail::div_255(background[c] * (255 - alpha) + value * alpha));
      }
  image.alpha = {};
  image.grey = image.indexed = false;
}

}  // namespace lamina::vision
