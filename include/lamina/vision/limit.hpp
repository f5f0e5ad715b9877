#pragma once
#include <lamina/model/processor_format.hpp>
#include <lamina/vision/resize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

/// LLaMA-Factory's own resize of a training image ("stage A"), which comes before the model's processor.
/// source: LLaMA-Factory, src/llamafactory/data/mm_plugin.py, BasePlugin and Qwen2VLPlugin::_preprocess_image

namespace lamina::vision {
namespace detail {

/// image_max_pixels, then image_min_pixels: both sides scaled alike and truncated. The first element of the pair is the
/// size after image_max_pixels.
inline std::pair<ImageSize, ImageSize> scaled_sizes(ImageSize size, std::int64_t min_pixels, std::int64_t max_pixels) {
  const auto scaled = [](ImageSize s, std::int64_t target) {
    const double factor = std::sqrt(static_cast<double>(target) / static_cast<double>(s.pixels()));
    return ImageSize{static_cast<int>(s.width * factor), static_cast<int>(s.height * factor)};
  };
  ImageSize down = size;
  if (down.pixels() > max_pixels) down = scaled(down, max_pixels);
  if (down.width < 1 || down.height < 1)
    fail("image of ", size.width, " x ", size.height, " pixels: scaled to image_max_pixels = ", max_pixels,
         " one side vanishes: raise image_max_pixels or crop the image");
  return {down, down.pixels() < min_pixels ? scaled(down, min_pixels) : down};
}

/// The resizes that keep a shape within limits, one after the other.
inline std::vector<ImageSize> shape_steps(ImageSize size, const ShapeLimits& shape) {
  std::vector<ImageSize> steps;
  const auto step = [&](int width, int height) { steps.push_back(size = {width, height}); };
  const int least = shape.least_side;
  if (std::min(size.width, size.height) < least) step(std::max(size.width, least), std::max(size.height, least));
  if (static_cast<double>(size.width) / size.height > shape.most_ratio)
    step(size.height * shape.ratio_after, size.height);
  if (static_cast<double>(size.height) / size.width > shape.most_ratio)
    step(size.width, size.width * shape.ratio_after);
  return steps;
}

/// Pillow's resize of an RGBA image: premultiply, resize the four channels, divide by alpha again.
inline void resize_with_alpha(Image& image, ImageSize to) {
  std::vector<std::uint8_t> rgba(image.alpha.size() * 4);
  for (std::size_t i = 0; i < image.alpha.size(); ++i) {
    for (int c = 0; c < 3; ++c)
      rgba[4 * i + c] = static_cast<std::uint8_t>(div_255(image.rgb[3 * i + c] * image.alpha[i]));
    rgba[4 * i + 3] = image.alpha[i];
  }
  rgba = resize_bicubic<4>(rgba, image.size(), to, Resampler::pillow);
  const std::size_t n = rgba.size() / 4;
  image.rgb.resize(3 * n);
  image.alpha.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    const int alpha = image.alpha[i] = rgba[4 * i + 3];
    for (int c = 0; c < 3; ++c) {
      const int value = rgba[4 * i + c];
      image.rgb[3 * i + c] =
          static_cast<std::uint8_t>(alpha == 0 || alpha == 255 ? value : std::min(255 * value / alpha, 255));
    }
  }
}

/// Pillow's Image.resize in the mode that the file had.
inline void resize_as_pillow(Image& image, ImageSize to) {
  if (to == image.size()) return;
  if (image.indexed) {
    image.rgb = resize_nearest(image.rgb, image.size(), to);
    image.alpha.clear();
  } else if (!image.alpha.empty()) {
    resize_with_alpha(image, to);
  } else {
    image.rgb = resize_bicubic<3>(image.rgb, image.size(), to, Resampler::pillow);
  }
  image.width = to.width;
  image.height = to.height;
}

}  // namespace detail

/// The size to which limit_pixels brings an image of this size.
inline ImageSize limited_size(ImageSize size, std::int64_t min_pixels, std::int64_t max_pixels,
                              const ShapeLimits& shape) {
  const ImageSize scaled = detail::scaled_sizes(size, min_pixels, max_pixels).second;
  const std::vector<ImageSize> steps = detail::shape_steps(scaled, shape);
  return steps.empty() ? scaled : steps.back();
}

/// LLaMA-Factory's resize to at most max_pixels, then at least min_pixels, then into the family's limits of shape, with
/// Pillow's bicubic filter, to the last bit. The result is plain RGB: no alpha, not indexed.
inline Image limit_pixels(Image image, std::int64_t min_pixels, std::int64_t max_pixels, const ShapeLimits& shape) {
  const auto [down, up] = detail::scaled_sizes(image.size(), min_pixels, max_pixels);
  detail::resize_as_pillow(image, down);
  detail::resize_as_pillow(image, up);
  image.alpha = {};
  image.indexed = false;
  for (ImageSize step : detail::shape_steps(up, shape)) detail::resize_as_pillow(image, step);
  return image;
}

}  // namespace lamina::vision
