#pragma once
#include <lamina/vision/stb.hpp>

namespace lamina::vision::detail {

/// Whether the colour table is a grey ramp: then Pillow drops it and resizes the picture as grey.
inline bool is_grey_ramp(std::span<const std::uint8_t> table, int colours, int entry_bytes) {
  for (int i = 0; i < colours; ++i) {
    const int level = colours == 2 ? 255 * i : i;
    for (int c = 0; c < 3; ++c)
      if (table[static_cast<std::size_t>(i) * entry_bytes + c] != level) return false;
  }
  return true;
}

/// Decodes uncompressed BMP; an alpha channel is dropped.
inline Image decode_bmp(std::span<const std::uint8_t> bytes, ImageSize size, std::string_view name) {
  const std::size_t data_at = le32(&bytes[10]), header = le32(&bytes[14]);
  const bool old = header == 12;  // OS/2 1.x
  if (!old && bytes.size() < 54) fail("image ", name, ": the BMP file is truncated, copy it again");
  const int bits = static_cast<int>(le16(&bytes[old ? 24 : 28]));
  const std::uint32_t compression = old ? 0 : le32(&bytes[30]);
  if (compression != 0 && compression != 3)  // BI_RGB, BI_BITFIELDS
    fail("image ", name, ": BMP with compression ", compression, ": save it as PNG");
  const std::size_t stride = (static_cast<std::size_t>(size.width) * bits + 31) / 32 * 4;
  if (data_at > bytes.size() || bytes.size() - data_at < stride * size.height)
    fail("image ", name, ": ", size.width, " x ", size.height, " pixels of ", bits, " bits do not fit into its ",
         bytes.size(), " bytes: the file is truncated, copy it again");
  bool indexed = false;
  if (bits <= 8 && !old) {
    const std::uint32_t used = le32(&bytes[46]), colours = used ? used : 1u << bits, table_at = 14 + header;
    if (colours > 256 || table_at + 4 * colours > bytes.size())
      fail("image ", name, ": a colour table of ", colours, " entries: the file is broken");
    indexed = colours == 2 || !is_grey_ramp(bytes.subspan(table_at), static_cast<int>(colours), 4);
  }
  return stb_rgb(bytes, size, indexed, name);
}

}  // namespace lamina::vision::detail
