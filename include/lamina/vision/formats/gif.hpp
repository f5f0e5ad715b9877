#pragma once
#include <lamina/vision/formats/header.hpp>

// By hand: giflib 5.2 takes one damaged file in ten that Pillow refuses (codes not defined yet), and refuses code sizes
// above 8 bits, which Pillow takes.

namespace lamina::vision::detail {

/// Where the first frame is in a GIF file.
struct GifFrame {
  ImageSize canvas{};         ///< the screen, enlarged if the frame leaves it
  int transparent = -1;       ///< its transparent index, or -1
  std::uint64_t palette = 0;  ///< its colour table (local, else global), or 0: grey
  int colours = 0;            ///< entries of that table
  int x = 0, y = 0, width = 0, height = 0;
  bool interlaced = false;
  std::uint64_t data = 0;  ///< its LZW data: the byte with the code size
};

/// Steps over sub-blocks; returns the byte after their terminator.
template <class Bytes>
std::uint64_t skip_gif_blocks(Bytes& bytes, std::uint64_t at, HeaderParts& parts, std::string_view name) {
  for (;;) {
    parts.next(name);
    const unsigned length = read_exactly<1>(bytes, at, name)[0];
    at += 1 + length;
    if (length == 0) return at;
  }
}

/// Walks the blocks up to the first frame.
template <class Bytes>
GifFrame find_gif_frame(Bytes& bytes, std::string_view name) {
  const auto head = read_exactly<13>(bytes, 0, name);
  GifFrame frame{.canvas = {static_cast<int>(le16(&head[6])), static_cast<int>(le16(&head[8]))}};
  std::uint64_t at = 13;
  const auto colour_table = [&](std::uint8_t flags) {
    if (!(flags & 0x80)) return;
    frame.palette = at;
    frame.colours = 2 << (flags & 7);
    at += 3u * frame.colours;
  };
  colour_table(head[10]);
  HeaderParts parts;
  for (;;) {
    const unsigned kind = read_exactly<1>(bytes, at, name)[0];
    if (kind == 0x21) {  // extension
      const auto extension = read_exactly<7>(bytes, at + 1, name);
      if (extension[0] == 0xf9 && extension[1] >= 4) frame.transparent = extension[2] & 1 ? extension[5] : -1;
      at = skip_gif_blocks(bytes, at + 2, parts, name);
    } else if (kind == 0x2c) {  // image descriptor
      const auto d = read_exactly<9>(bytes, at + 1, name);
      frame.x = static_cast<int>(le16(&d[0])), frame.y = static_cast<int>(le16(&d[2]));
      frame.width = static_cast<int>(le16(&d[4])), frame.height = static_cast<int>(le16(&d[6]));
      frame.canvas.width = std::max(frame.canvas.width, frame.x + frame.width);
      frame.canvas.height = std::max(frame.canvas.height, frame.y + frame.height);
      frame.interlaced = d[8] & 0x40;
      at += 10;
      colour_table(d[8]);
      frame.data = at;
      check_size(frame.canvas, name);
      return frame;
    } else if (kind == 0x3b) {
      fail("image ", name, ": a GIF file without a frame: the file is broken");
    } else {  // Pillow looks for the next block that it knows
      parts.next(name);
      ++at;
    }
  }
}

template <class Bytes>
ImageHeader gif_header(Bytes& bytes, std::string_view name) {
  const GifFrame frame = find_gif_frame(bytes, name);
  // LZW codes of 12 bits encode runs of at most 4096 pixels.
  check_plausible({frame.width, frame.height}, bytes.size(), 4096, name);
  return {.format = Format::gif,
          .size = frame.canvas,
          .frames = std::nullopt,
          .working_bytes = 3u * static_cast<std::uint64_t>(frame.canvas.pixels()) + (1 << 20)};
}

/// Expands a frame's LZW data, one code at a time.
class GifLzw {
 public:
  GifLzw(std::span<const std::uint8_t> bytes, std::uint64_t at, DecodeTask& task) : bytes_(bytes), task_(task) {
    if (at >= bytes.size()) truncated();
    bits_ = bytes[at];
    at_ = at + 1;
    if (bits_ > max_bits) broken();
    clear_ = 1 << bits_;
    reset();
  }

  /// The pixels of the next code, valid until the next call; empty at the end code.
  std::span<const std::uint8_t> next() {
    for (;;) {
      const int code = read_code();
      if (code == clear_) {
        reset();
        continue;
      }
      if (code == clear_ + 1) return {};
      return expand(code);
    }
  }

 private:
  static constexpr int max_bits = 12, table_size = 1 << max_bits;

  [[noreturn]] void truncated() const { fail("image ", task_.name, ": the GIF file is truncated, copy it again"); }
  [[noreturn]] void broken() const { fail("image ", task_.name, ": damaged GIF data (LZW code), copy it again"); }

  void reset() {
    size_ = bits_ + 1;
    table_ = clear_ + 2;
    last_ = -1;
  }

  int read_code() {
    while (bit_count_ < size_) {
      if (block_ == 0) {
        if (at_ >= bytes_.size() || bytes_.size() - at_ < bytes_[at_] + 1u) truncated();
        block_ = bytes_[at_++];
        task_.check(256);
        continue;
      }
      bit_buffer_ |= std::uint32_t{bytes_[at_++]} << bit_count_;
      bit_count_ += 8;
      --block_;
    }
    const int code = static_cast<int>(bit_buffer_ & ((1u << size_) - 1));
    bit_buffer_ >>= size_;
    bit_count_ -= size_;
    return code;
  }

  std::span<const std::uint8_t> expand(int code) {
    std::size_t begin = text_.size();
    int rest = code;
    if (last_ < 0) {  // the first code after a clear code
      if (code > clear_) broken();
    } else {
      if (code > table_) broken();
      if (code == table_) {
        text_[--begin] = first_;
        rest = last_;
      }
    }
    for (; rest >= clear_; rest = link_[rest]) {
      if (begin == 0 || rest >= table_size || rest < clear_ + 2) broken();
      text_[--begin] = end_[rest];
    }
    if (begin == 0) broken();
    text_[--begin] = first_ = static_cast<std::uint8_t>(rest);
    if (last_ >= 0 && table_ < table_size) {
      end_[table_] = first_;
      link_[table_] = static_cast<std::uint16_t>(last_);
      if (table_ == (1 << size_) - 1 && size_ < max_bits) ++size_;
      ++table_;
    }
    last_ = code;
    return std::span(text_).subspan(begin);
  }

  std::span<const std::uint8_t> bytes_;
  DecodeTask& task_;
  std::uint64_t at_ = 0;
  int bits_ = 0, clear_ = 0, size_ = 0, table_ = 0, last_ = -1, block_ = 0, bit_count_ = 0;
  std::uint32_t bit_buffer_ = 0;
  std::uint8_t first_ = 0;
  std::array<std::uint8_t, table_size> end_{};    ///< last pixel of each code
  std::array<std::uint16_t, table_size> link_{};  ///< code of the pixels before it
  std::array<std::uint8_t, table_size + 2> text_{};
};

/// Decodes the first frame. Transparent pixels keep their colours, as in Pillow's convert("RGB"); what the frame leaves
/// bare has the transparent index, else index 0.
inline Image decode_gif(std::span<const std::uint8_t> bytes, DecodeTask& task) {
  MemoryBytes memory{bytes};
  const GifFrame frame = find_gif_frame(memory, task.name);
  if (frame.palette + 3u * frame.colours > bytes.size())
    fail("image ", task.name, ": the GIF file is truncated, copy it again");
  const auto table = bytes.subspan(frame.palette, 3u * frame.colours);
  // A grey ramp is no palette for Pillow. Beyond a real one, colours are black.
  std::array<std::uint8_t, 768> grey, palette{};
  for (std::size_t i = 0; i < grey.size(); ++i) grey[i] = static_cast<std::uint8_t>(i / 3);
  const bool indexed = !std::equal(table.begin(), table.end(), grey.begin());
  if (!indexed) palette = grey;
  std::copy(table.begin(), table.end(), palette.begin());
  Image image{.width = frame.canvas.width, .height = frame.canvas.height};
  image.indexed = indexed;
  image.rgb.resize(static_cast<std::size_t>(frame.canvas.pixels()) * 3);
  const std::uint8_t* const bare = &palette[3 * std::max(frame.transparent, 0)];
  for (std::size_t i = 0; i < image.rgb.size(); ++i) image.rgb[i] = bare[i % 3];
  if (frame.width == 0 || frame.height == 0) return image;

  GifLzw lzw(bytes, frame.data, task);
  struct RowPass {
    int first, step;
  };
  static constexpr RowPass whole[] = {{0, 1}}, interlaced[] = {{0, 8}, {4, 8}, {2, 4}, {1, 2}};
  std::span<const std::uint8_t> text;
  for (const RowPass& pass : frame.interlaced ? std::span<const RowPass>(interlaced) : whole)
    for (int y = pass.first; y < frame.height; y += pass.step) {
      std::uint8_t* to = &image.rgb[(static_cast<std::size_t>(frame.y + y) * image.width + frame.x) * 3];
      for (int x = 0; x < frame.width; ++x, to += 3) {
        if (text.empty() && (text = lzw.next()).empty())
          fail("image ", task.name, ": the GIF frame ends before its last row: the file is truncated, copy it again");
        std::copy_n(&palette[3 * text.front()], 3, to);
        text = text.subspan(1);
      }
      task.check(static_cast<std::size_t>(frame.width) * 3);
    }
  return image;
}

}  // namespace lamina::vision::detail
