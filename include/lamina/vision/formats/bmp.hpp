#pragma once
#include <lamina/vision/formats/header.hpp>

#include <bit>

/// BMP in the kinds that Pillow reads: 1 to 32 bits, colour masks, run-length coded.
/// By hand: none of the libraries used here reads BMP.
/// source: Pillow's BmpImagePlugin, Microsoft's BITMAPINFOHEADER

namespace lamina::vision::detail {

struct BmpFormat {
  ImageSize size{};
  int bits = 0;
  std::uint32_t compression = 0;
  bool from_top = false;  ///< rows are stored from the top
  int entry_bytes = 4;    ///< of the colour table
  std::uint64_t table = 0, data = 0;
  std::uint32_t colours = 0;
  std::array<std::uint32_t, 4> masks{};  ///< red, green, blue, alpha; of bitfields only
  static constexpr std::uint32_t raw = 0, rle8 = 1, rle4 = 2, bitfields = 3;

  std::size_t row_bytes() const { return (static_cast<std::size_t>(size.width) * bits + 7) / 8; }
  std::size_t stride() const { return (row_bytes() + 3) / 4 * 4; }
  bool run_length() const { return compression == rle8 || compression == rle4; }
  bool has_alpha() const { return compression == bitfields && bits == 32 && masks[3] != 0; }
};

/// The masks of a bitfields file. Pillow reads these layouts and no others.
template <class Bytes>
void read_bmp_masks(Bytes& bytes, std::uint32_t header, BmpFormat& f, std::string_view name) {
  const auto fields = read_exactly<16>(bytes, 54, name);
  for (int i = 0; i < (header >= 56 ? 4 : 3); ++i) f.masks[i] = le32(&fields[4 * i]);
  using Masks = std::array<std::uint32_t, 4>;
  static constexpr Masks masks32[] = {{0xff0000, 0xff00, 0xff, 0},          {0xff000000, 0xff0000, 0xff00, 0},
                                      {0xff000000, 0xff00, 0xff, 0},        {0xff000000, 0xff0000, 0xff00, 0xff},
                                      {0xff, 0xff00, 0xff0000, 0xff000000}, {0xff0000, 0xff00, 0xff, 0xff000000},
                                      {0xff000000, 0xff00, 0xff, 0xff0000}, {0, 0, 0, 0}};
  static constexpr Masks masks24[] = {{0xff0000, 0xff00, 0xff}},
                         masks16[] = {{0xf800, 0x7e0, 0x1f}, {0x7c00, 0x3e0, 0x1f}};
  Masks wanted = f.masks;
  if (f.bits != 32) wanted[3] = 0;
  const auto known = f.bits == 32   ? std::span<const Masks>(masks32)
                     : f.bits == 24 ? std::span<const Masks>(masks24)
                     : f.bits == 16 ? std::span<const Masks>(masks16)
                                    : std::span<const Masks>();
  if (std::find(known.begin(), known.end(), wanted) == known.end())
    fail("image ", name, ": a BMP file of ", f.bits,
         " bits with colour masks that Pillow does not read: save it as PNG");
  if (f.bits == 32 && !f.masks[0]) f.masks = {0xff0000, 0xff00, 0xff, 0xff000000};
}

template <class Bytes>
BmpFormat read_bmp_format(Bytes& bytes, std::string_view name) {
  const auto start = read_exactly<26>(bytes, 0, name);
  const std::uint32_t header = le32(&start[14]);
  BmpFormat f;
  f.data = le32(&start[10]);
  if (header == 12) {  // OS/2 1.x: 16-bit sides
    f.size = {static_cast<int>(le16(&start[18])), static_cast<int>(le16(&start[20]))};
    f.bits = static_cast<int>(le16(&start[24]));
    f.entry_bytes = 3;
  } else if (header == 40 || header == 52 || header == 56 || header == 64 || header == 108 || header == 124) {
    const auto h = read_exactly<54>(bytes, 0, name);
    const std::uint32_t height = le32(&h[22]);
    f.from_top = height >> 24 == 0xff;
    f.size = {side(le32(&h[18])), side(f.from_top ? 0u - height : height)};
    f.bits = static_cast<int>(le16(&h[28]));
    f.compression = le32(&h[30]);
    f.colours = le32(&h[46]);
  } else {
    fail("image ", name, ": a BMP header of ", header,
         " bytes, 12, 40, 52, 56, 64, 108 or 124 are read: save it as PNG");
  }
  check_size(f.size, name);
  if (f.bits != 1 && f.bits != 4 && f.bits != 8 && f.bits != 16 && f.bits != 24 && f.bits != 32)
    fail("image ", name, ": a BMP file of ", f.bits, " bits per pixel, 1, 4, 8, 16, 24 or 32 are read: save it as PNG");
  if (f.compression > BmpFormat::bitfields || (f.run_length() && f.bits > 8))
    fail("image ", name, ": BMP with compression ", f.compression, " and ", f.bits, " bits: save it as PNG");
  if (f.compression == BmpFormat::bitfields) read_bmp_masks(bytes, header, f, name);
  f.table = 14 + header;
  if (f.bits <= 8) {
    if (f.colours == 0) f.colours = 1u << f.bits;
    if (f.colours > 65536) fail("image ", name, ": a colour table of ", f.colours, " entries: the file is broken");
    // A data offset that points at the colour table means the bytes after it.
    if (f.data == f.table || f.data == 0) f.data = f.table + std::uint64_t(f.entry_bytes) * f.colours;
  } else if (f.data == 0) {
    f.data = f.table + (f.compression == BmpFormat::bitfields && header == 40 ? 12 : 0);
  }
  return f;
}

template <class Bytes>
ImageHeader bmp_header(Bytes& bytes, std::string_view name) {
  const BmpFormat f = read_bmp_format(bytes, name);
  const std::uint64_t needed = f.stride() * (f.size.height - 1ull) + f.row_bytes();  // the last row's padding may miss
  if (!f.run_length() && (f.data > bytes.size() || bytes.size() - f.data < needed))
    fail("image ", name, ": ", f.size.width, " x ", f.size.height, " pixels of ", f.bits, " bits do not fit into its ",
         bytes.size(), " bytes: the file is truncated, copy it again");
  // A run of two bytes has 255 pixels; a jump of four bytes skips 255 rows.
  if (f.run_length()) check_plausible({1, f.size.height}, bytes.size(), 255, name);
  return {.format = Format::bmp,
          .size = f.size,
          .has_alpha = f.has_alpha(),
          .working_bytes = static_cast<std::uint64_t>(f.size.pixels()) * (f.has_alpha() ? 4 : 3) + (1 << 20)};
}

/// Whether the colour table is a grey ramp: then Pillow drops it and resizes the image as grey.
inline bool is_grey_ramp(std::span<const std::uint8_t> table, std::uint32_t colours, int entry_bytes) {
  for (std::uint32_t i = 0; i < colours; ++i) {
    const std::uint32_t level = colours == 2 ? 255 * i : i;
    for (int c = 0; c < 3; ++c)
      if (table[static_cast<std::size_t>(i) * entry_bytes + c] != level) return false;
  }
  return true;
}

/// Where decoded pixels of a BMP file go: rows from the bottom, or from the top.
struct BmpPixels {
  BmpFormat format;
  Image image;
  std::array<std::uint8_t, 768> palette{};

  std::size_t at(std::int64_t row, int x) const {
    return static_cast<std::size_t>(format.from_top ? row : image.height - 1 - row) * image.width + x;
  }
  void put_index(std::size_t pixel, std::size_t index) { std::copy_n(&palette[3 * index], 3, &image.rgb[3 * pixel]); }
};

/// Reads the colour table. Indices beyond it are black.
inline void read_bmp_palette(std::span<const std::uint8_t> bytes, BmpPixels& pixels, std::string_view name) {
  const BmpFormat& f = pixels.format;
  const std::size_t table_bytes = static_cast<std::size_t>(f.colours) * f.entry_bytes;
  if (f.table + table_bytes > bytes.size())
    fail("image ", name, ": a colour table of ", f.colours, " entries: the file is truncated, copy it again");
  const auto table = bytes.subspan(f.table, table_bytes);
  for (std::size_t i = 0; i < 256; ++i)
    for (int c = 0; c < 3; ++c) pixels.palette[3 * i + c] = i < f.colours ? table[i * f.entry_bytes + 2 - c] : 0;
  const bool grey = is_grey_ramp(table, f.colours, f.entry_bytes);
  pixels.image.indexed = f.colours == 2 || !grey;
}

/// Run-length data, as Pillow unrolls it: a run ends at the end of its row, literal pixels may go on in the next row.
class BmpRuns {
 public:
  BmpRuns(std::span<const std::uint8_t> bytes, BmpPixels& pixels, DecodeTask& task)
      : bytes_(bytes),
        at_(pixels.format.data),
        pixels_(pixels),
        task_(task),
        width_(pixels.image.width),
        total_(pixels.image.size().pixels()),
        four_(pixels.format.compression == BmpFormat::rle4) {}

  void decode() {
    for (std::int64_t before = 0; done_ < total_ && step(); before = done_)
      task_.check(static_cast<std::size_t>(3 * (done_ - before) + 2));
    if (done_ < total_)
      fail("image ", task_.name, ": the run-length data end after ", done_, " of ", total_,
           " pixels: the file is truncated, copy it again");
  }

 private:
  bool step() {
    if (at_ + 2 > bytes_.size()) return false;
    const int count = bytes_[at_], value = bytes_[at_ + 1];
    at_ += 2;
    if (count > 0) {
      const int fitting = static_cast<int>(std::clamp<std::int64_t>(width_ - x_, 0, count));
      for (int i = 0; i < fitting; ++i) put(!four_ ? value : i % 2 ? value & 15 : value >> 4);
      x_ += fitting;
      return true;
    }
    if (value == 0) {  // end of row
      while (done_ % width_ != 0) put(0);
      x_ = 0;
      return true;
    }
    if (value == 1) return false;  // end of image
    return value == 2 ? jump() : literal(value);
  }

  bool jump() {
    if (at_ + 4 > bytes_.size()) return false;
    // Pillow reads two pairs and uses the second.
    const std::int64_t pixels = bytes_[at_ + 2] + bytes_[at_ + 3] * width_;
    at_ += 4;
    for (std::int64_t i = 0; i < pixels && done_ < total_; ++i) put(0);
    x_ = done_ % width_;
    return true;
  }

  bool literal(int count) {
    const std::size_t wanted = four_ ? count / 2 : count;
    const std::size_t there = std::min(wanted, bytes_.size() - at_);
    for (std::size_t i = 0; i < there; ++i) {
      const int value = bytes_[at_ + i];
      if (four_) put(value >> 4);
      put(four_ ? value & 15 : value);
    }
    at_ += there;
    if (there < wanted) return false;
    x_ += count;
    at_ += at_ % 2;
    return true;
  }

  void put(int index) {
    if (done_ >= total_) return;
    pixels_.put_index(pixels_.at(done_ / width_, static_cast<int>(done_ % width_)), static_cast<std::size_t>(index));
    ++done_;
  }

  std::span<const std::uint8_t> bytes_;
  std::size_t at_;
  BmpPixels& pixels_;
  DecodeTask& task_;
  std::int64_t width_, total_, done_ = 0, x_ = 0;
  bool four_;
};

/// A masked field of a pixel, widened to eight bits as Pillow does: rounded down.
inline std::uint8_t masked(std::uint32_t pixel, std::uint32_t mask) {
  const std::uint32_t most = mask >> std::countr_zero(mask);
  return static_cast<std::uint8_t>((pixel & mask) / (mask / most) * 255 / most);
}

/// A row of 16, 24 or 32 bits per pixel.
inline void put_bmp_row(std::span<const std::uint8_t> row, std::size_t to, BmpPixels& pixels) {
  const BmpFormat& f = pixels.format;
  const std::size_t bytes = static_cast<std::size_t>(f.bits) / 8;
  std::uint8_t* rgb = &pixels.image.rgb[3 * to];
  if (f.bits == 24 || (f.bits == 32 && f.compression == BmpFormat::raw)) {  // blue, green, red
    for (std::size_t at = 0; at < row.size(); at += bytes, rgb += 3)
      rgb[0] = row[at + 2], rgb[1] = row[at + 1], rgb[2] = row[at];
    return;
  }
  const std::array<std::uint32_t, 4> masks =
      f.compression == BmpFormat::raw ? std::array<std::uint32_t, 4>{0x7c00, 0x3e0, 0x1f} : f.masks;
  for (std::size_t at = 0; at < row.size(); at += bytes, rgb += 3, ++to) {
    const std::uint32_t pixel = f.bits == 16 ? le16(&row[at]) : le32(&row[at]);
    for (int c = 0; c < 3; ++c) rgb[c] = masked(pixel, masks[c]);
    if (f.has_alpha()) pixels.image.alpha[to] = masked(pixel, masks[3]);
  }
}

inline Image decode_bmp(std::span<const std::uint8_t> bytes, DecodeTask& task) {
  MemoryBytes memory{bytes};
  const BmpFormat f = read_bmp_format(memory, task.name);
  const auto count = static_cast<std::size_t>(f.size.pixels());
  BmpPixels pixels{f, {.width = f.size.width, .height = f.size.height, .rgb = std::vector<std::uint8_t>(count * 3)}};
  if (f.has_alpha()) pixels.image.alpha.resize(count);
  if (f.bits <= 8) read_bmp_palette(bytes, pixels, task.name);
  if (f.run_length()) {
    BmpRuns(bytes, pixels, task).decode();
    return std::move(pixels.image);
  }
  for (int y = 0; y < f.size.height; ++y) {
    const auto row = bytes.subspan(f.data + y * f.stride(), f.row_bytes());
    if (f.bits > 8) {
      put_bmp_row(row, pixels.at(y, 0), pixels);
    } else {
      const int per_byte = 8 / f.bits;
      for (int x = 0; x < f.size.width; ++x)
        pixels.put_index(pixels.at(y, x), row[x / per_byte] >> (8 - f.bits * (x % per_byte + 1)) & ((1 << f.bits) - 1));
    }
    task.check(row.size());
  }
  return std::move(pixels.image);
}

}  // namespace lamina::vision::detail
