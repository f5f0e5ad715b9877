#pragma once
#include <lamina/vision/stb.hpp>

namespace lamina::vision::detail {

/// CRC-32 of ISO 3309, as PNG's chunks carry it.
inline std::uint32_t crc32(std::span<const std::uint8_t> bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int bit = 0; bit < 8; ++bit) t[i] = t[i] & 1 ? 0xedb88320u ^ t[i] >> 1 : t[i] >> 1;
    }
    return t;
  }();
  std::uint32_t crc = 0xffffffffu;
  for (std::uint8_t b : bytes) crc = table[(crc ^ b) & 0xff] ^ crc >> 8;
  return ~crc;
}

/// What stb_image does not check: every critical chunk whole and unharmed, image data present. Returns its bytes.
inline std::size_t check_png_chunks(std::span<const std::uint8_t> bytes, std::string_view name) {
  std::size_t data_bytes = 0;
  for (std::size_t at = 8;;) {
    if (bytes.size() < at + 12) fail("image ", name, ": the PNG file is truncated, copy it again");
    const std::size_t length = be32(&bytes[at]);
    if (bytes.size() - at - 12 < length) fail("image ", name, ": the PNG file is truncated, copy it again");
    const std::string_view type(reinterpret_cast<const char*>(&bytes[at + 4]), 4);
    const bool critical = (type[0] & 0x20) == 0;
    if (critical && crc32(bytes.subspan(at + 4, length + 4)) != be32(&bytes[at + 8 + length]))
      fail("image ", name, ": the PNG chunk ", type, " at byte ", at, " is damaged (wrong checksum), copy it again");
    if (type == "IDAT") data_bytes += length;
    if (type == "IEND") break;
    at += length + 12;
  }
  if (data_bytes == 0) fail("image ", name, ": a PNG file without image data");
  return data_bytes;
}

/// 16-bit grey as Pillow's convert("RGB") gives it: values above 255 become 255. (Colours of 16 bits keep their high
/// byte, in Pillow and in stb_image.)
inline Image decode_png_grey16(std::span<const std::uint8_t> bytes, ImageSize size, std::string_view name) {
  int width = 0, height = 0, found = 0;
  const std::unique_ptr<stbi_us, void (*)(void*)> grey(
      stbi_load_16_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height, &found, 1),
      stbi_image_free);
  if (!grey || ImageSize{width, height} != size)
    fail("image ", name, ": broken 16-bit PNG", grey ? "" : ": ", grey ? "" : stbi_failure_reason());
  Image image{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(size.pixels()) * 3), {}, false};
  for (std::size_t i = 0; i < image.rgb.size(); ++i)
    image.rgb[i] = static_cast<std::uint8_t>(std::min<unsigned>(grey.get()[i / 3], 255));
  return image;
}

/// Decodes PNG, alpha kept apart; transparency of single colours is ignored, as convert("RGB") does.
inline Image decode_png(std::span<const std::uint8_t> bytes, ImageSize size, std::string_view name) {
  const std::size_t data_bytes = check_png_chunks(bytes, name);
  if (bytes.size() < 33 || std::memcmp(&bytes[12], "IHDR", 4) != 0) fail("image ", name, ": a PNG file without IHDR");
  const int depth = bytes[24], colour = bytes[25];
  constexpr int grey = 0, palette = 3, alpha = 4;  // colour types; alpha is a bit
  // deflate expands at most 1032 times, and a pixel takes a bit at least.
  check_plausible(size, data_bytes, 8 * 1032, name);
  if (colour == grey && depth == 16) return decode_png_grey16(bytes, size, name);
  if (colour & alpha) return split_alpha(size, stb_decode(bytes, size, 4, name).get());
  return stb_rgb(bytes, size, colour == palette || depth == 1, name);
}

}  // namespace lamina::vision::detail
