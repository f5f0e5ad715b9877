#pragma once
#include <lamina/vision/stb.hpp>

namespace lamina::vision::detail {

/// Where the first frame lies in a GIF file.
struct GifFrame {
  std::size_t control = 0;  ///< its graphic control extension's flags byte, or 0
  int transparent = -1;     ///< its transparent index, or -1
  std::size_t palette = 0;  ///< its colour table (local, else global)
  int colours = 0;          ///< entries of that table
  int x = 0, y = 0, width = 0, height = 0;
};

/// Steps over sub-blocks; returns the byte after their terminator.
inline std::size_t skip_gif_blocks(std::span<const std::uint8_t> bytes, std::size_t at, std::string_view name) {
  while (at < bytes.size() && bytes[at] != 0) at += bytes[at] + 1u;
  if (at >= bytes.size()) fail("image ", name, ": the GIF file is truncated, copy it again");
  return at + 1;
}

/// Walks the blocks up to the first frame and through its data.
inline GifFrame find_gif_frame(std::span<const std::uint8_t> bytes, std::string_view name) {
  const auto need = [&](std::size_t end) {
    if (end > bytes.size()) fail("image ", name, ": the GIF file is truncated, copy it again");
  };
  GifFrame frame;
  std::size_t at = 13;
  const auto colour_table = [&](std::uint8_t flags) {
    if (!(flags & 0x80)) return;
    frame.palette = at;
    frame.colours = 2 << (flags & 7);
    at += 3u * frame.colours;
    need(at);
  };
  need(at);
  colour_table(bytes[10]);
  for (;;) {
    need(at + 2);
    if (bytes[at] == 0x21) {  // extension
      if (bytes[at + 1] == 0xf9 && (need(at + 8), bytes[at + 2] >= 4)) {
        frame.control = at + 3;
        frame.transparent = bytes[at + 3] & 1 ? bytes[at + 6] : -1;
      }
      at = skip_gif_blocks(bytes, at + 2, name);
    } else if (bytes[at] == 0x2c) {  // image descriptor
      need(at + 10);
      const std::uint8_t* d = &bytes[at + 1];
      frame.x = static_cast<int>(le16(d)), frame.y = static_cast<int>(le16(d + 2));
      frame.width = static_cast<int>(le16(d + 4)), frame.height = static_cast<int>(le16(d + 6));
      at += 10;
      colour_table(d[8]);
      if (frame.palette == 0) fail("image ", name, ": a GIF frame without a colour table: the file is broken");
      skip_gif_blocks(bytes, at + 1, name);
      return frame;
    } else {
      fail("image ", name, ": a GIF file without a frame, or broken at byte ", at);
    }
  }
}

/// Decodes the first frame. Pillow keeps the colours of transparent pixels when it converts to RGB; stb_image would
/// drop them, so it gets a copy that declares nothing transparent. What the frame leaves bare has the transparent
/// index, else index 0.
inline Image decode_gif(std::span<const std::uint8_t> bytes, ImageSize size, std::string_view name) {
  const GifFrame frame = find_gif_frame(bytes, name);
  // LZW codes of 12 bits stand for runs of at most 4096 pixels.
  check_plausible(size, bytes.size(), 4096, name);
  std::vector<std::uint8_t> opaque(bytes.begin(), bytes.end());
  if (frame.control) opaque[frame.control] &= 0xfe;
  const std::uint8_t* palette = bytes.data() + frame.palette;
  bool grey_ramp = true;
  for (int i = 0; i < 3 * frame.colours; ++i) grey_ramp = grey_ramp && palette[i] == i / 3;
  Image image = stb_rgb(opaque, size, !grey_ramp, name);
  const int bare = frame.transparent >= 0 && frame.transparent < frame.colours ? frame.transparent : 0;
  for (int y = 0; y < size.height; ++y)
    for (int x = 0; x < size.width; ++x) {
      if (y >= frame.y && y < frame.y + frame.height && x >= frame.x && x < frame.x + frame.width) continue;
      std::copy(palette + 3 * bare, palette + 3 * bare + 3,
                image.rgb.begin() + (static_cast<std::ptrdiff_t>(y) * size.width + x) * 3);
    }
  return image;
}

}  // namespace lamina::vision::detail
