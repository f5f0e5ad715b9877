#pragma once
#include <lamina/vision/header.hpp>

#if defined(LAMINA_HAS_WEBP)
#include <webp/decode.h>

#include <memory>

namespace lamina::vision::detail {

/// Decodes a still WebP file with libwebp, alpha kept apart. Animations are refused.
inline Image decode_webp(std::span<const std::uint8_t> bytes, ImageSize size, std::string_view name) {
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK)
    fail("image ", name, ": broken or truncated WebP header: copy it again or remove it");
  if (features.has_animation) fail("image ", name, ": an animated WebP file: save its first frame as a still picture");
  if (ImageSize{features.width, features.height} != size)
    fail("image ", name, ": its WebP frame is ", features.width, " x ", features.height, ", its header says ",
         size.width, " x ", size.height, ": the file is broken");
  // libwebp allocates, and touches its memory only as far as the data goes: a short file with a huge header stays
  // cheap.
  const auto decode = features.has_alpha ? WebPDecodeRGBA : WebPDecodeRGB;
  const std::unique_ptr<std::uint8_t, void (*)(void*)> pixels(decode(bytes.data(), bytes.size(), nullptr, nullptr),
                                                              WebPFree);
  if (!pixels) fail("image ", name, ": broken or truncated WebP data: copy it again or remove it");
  if (features.has_alpha) return split_alpha(size, pixels.get());
  return {size.width, size.height, {pixels.get(), pixels.get() + size.pixels() * 3}, {}, false};
}

}  // namespace lamina::vision::detail
#endif
