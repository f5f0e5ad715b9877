#pragma once
#include <lamina/vision/formats/header.hpp>

#include <zlib.h>

#include <cctype>
#include <new>

/// PNG, on zlib alone as Pillow reads it: what libpng calls damaged is not always what Pillow refuses.

namespace lamina::vision::detail {

/// The fields of IHDR.
struct PngFormat {
  ImageSize size;
  int depth = 0, colour = 0;
  bool interlaced = false;
  static constexpr int grey = 0, rgb = 2, palette = 3, grey_alpha = 4, rgb_alpha = 6;

  int channels() const { return colour == rgb ? 3 : colour == grey_alpha ? 2 : colour == rgb_alpha ? 4 : 1; }
  bool has_alpha() const { return colour == grey_alpha || colour == rgb_alpha; }
  /// Bytes of a row of `width` pixels, without its filter byte.
  std::size_t row_bytes(int width) const { return (std::size_t(width) * channels() * depth + 7) / 8; }
  bool is_valid() const {
    const bool bytes = depth == 8 || depth == 16, bits = depth == 1 || depth == 2 || depth == 4;
    return colour == grey      ? bytes || bits
           : colour == palette ? depth == 8 || bits
                               : bytes && (colour == rgb || has_alpha());
  }
};

template <class Bytes>
PngFormat read_png_format(Bytes& bytes, std::string_view name) {
  const auto head = read_exactly<29>(bytes, 0, name);
  if (tag(head, 12) != "IHDR") fail("image ", name, ": a PNG file without IHDR: the file is broken");
  const PngFormat format{{side(be32(&head[16])), side(be32(&head[20]))}, head[24], head[25], head[28] != 0};
  check_size(format.size, name);
  if (!format.is_valid())
    fail("image ", name, ": a PNG file of colour type ", format.colour, " and ", format.depth,
         " bits, which do not exist: the file is broken");
  return format;
}

/// Walks the chunks up to the image data.
template <class Bytes>
ImageHeader png_header(Bytes& bytes, std::string_view name) {
  const PngFormat format = read_png_format(bytes, name);
  ImageHeader header{.format = Format::png, .size = format.size, .has_alpha = format.has_alpha()};
  const std::uint64_t pixels = format.size.pixels(), rows = format.row_bytes(format.size.width);
  header.working_bytes = pixels * (format.has_alpha() ? 4 : 3) + 4 * rows + (1 << 20);
  HeaderParts parts;
  for (std::uint64_t at = 8;;) {
    parts.next(name);
    const auto chunk = read_exactly<8>(bytes, at, name);
    const std::uint32_t length = be32(chunk.data());
    if (tag(chunk, 4) == "IDAT") {
      // deflate expands at most 1032 times, and a pixel takes a bit at least.
      check_plausible(format.size, bytes.size() - at, 8 * 1032, name);
      return header;
    }
    if (tag(chunk, 4) == "IEND") fail("image ", name, ": a PNG file without image data: the file is broken");
    if (tag(chunk, 4) == "eXIf") header.orientation = exif_orientation(bytes, at + 8, length);
    if (tag(chunk, 4) == "acTL") header.frames = side(be32(read_exactly<4>(bytes, at + 8, name).data()));
    at += 12ull + length;
  }
}

/// Inflates the image data of a PNG file row by row. As in Pillow, a stream that ends with a row leaves the others
/// zero, and the checksums of the chunks are not looked at: the stream has its own.
class PngStream {
 public:
  PngStream(std::span<const std::uint8_t> bytes, std::size_t first_chunk, DecodeTask& task)
      : bytes_(bytes), next_chunk_(first_chunk), task_(task) {
    if (inflateInit(&stream_) != Z_OK) throw std::bad_alloc();
  }
  PngStream(const PngStream&) = delete;
  PngStream& operator=(const PngStream&) = delete;
  ~PngStream() { inflateEnd(&stream_); }

  /// Fills `row`; false if the stream ended with the row before.
  bool read(std::span<std::uint8_t> row) {
    stream_.next_out = row.data();
    stream_.avail_out = static_cast<uInt>(row.size());
    if (ended_) return false;
    while (stream_.avail_out > 0) {
      if (stream_.avail_in == 0 || ended_) open_chunk();
      const int result = inflate(&stream_, Z_NO_FLUSH);
      if (result == Z_STREAM_END)
        ended_ = true;
      else if (result != Z_OK && result != Z_BUF_ERROR)
        fail("image ", task_.name, ": damaged PNG data (", stream_.msg ? stream_.msg : "zlib", "), copy it again");
    }
    task_.check(row.size());
    return true;
  }

  /// Where the chunk after the one being read begins.
  std::size_t next_chunk() const { return next_chunk_; }

 private:
  void open_chunk() {
    if (bytes_.size() < next_chunk_ + 8 || std::memcmp(&bytes_[next_chunk_ + 4], "IDAT", 4) != 0)
      fail("image ", task_.name, ": the PNG file is truncated, copy it again");
    const std::size_t length = be32(&bytes_[next_chunk_]), begin = next_chunk_ + 8;
    stream_.next_in = const_cast<Bytef*>(bytes_.data() + begin);
    stream_.avail_in = static_cast<uInt>(std::min(length, bytes_.size() - begin));
    next_chunk_ = begin + length + 4;
    task_.check(12);
  }

  std::span<const std::uint8_t> bytes_;
  std::size_t next_chunk_;
  DecodeTask& task_;
  z_stream stream_{};
  bool ended_ = false;
};

/// Undoes the filter of a row (PNG specification, section 9). Neighbouring pixels are `step` bytes apart.
inline void unfilter_png_row(int filter, std::span<std::uint8_t> row, std::span<const std::uint8_t> above,
                             std::size_t step, std::string_view name) {
  if (filter > 4) fail("image ", name, ": a PNG row with filter ", filter, ", 0 to 4 exist: the file is broken");
  const auto paeth = [](int a, int b, int c) {
    const int pa = std::abs(b - c), pb = std::abs(a - c), pc = std::abs(a + b - 2 * c);
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
  };
  if (filter == 2)
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<std::uint8_t>(row[i] + above[i]);
  if (filter == 1)
    for (std::size_t i = step; i < row.size(); ++i) row[i] = static_cast<std::uint8_t>(row[i] + row[i - step]);
  if (filter < 3) return;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const int left = i < step ? 0 : row[i - step], up = above[i], corner = i < step ? 0 : above[i - step];
    row[i] = static_cast<std::uint8_t>(row[i] + (filter == 3 ? (left + up) / 2 : paeth(left, up, corner)));
  }
}

/// Writes unfiltered rows into an Image.
class PngPixels {
 public:
  PngPixels(PngFormat format, std::span<const std::uint8_t> colours) : format_(format) {
    const auto pixels = static_cast<std::size_t>(format.size.pixels());
    image_ = {.width = format.size.width, .height = format.size.height, .rgb = std::vector<std::uint8_t>(pixels * 3)};
    if (format.has_alpha()) image_.alpha.resize(pixels);
    image_.indexed = format.colour == PngFormat::palette || (format.colour == PngFormat::grey && format.depth == 1);
    image_.grey = format.colour == PngFormat::grey_alpha && format.depth == 8;
    for (std::size_t i = 0; i < palette_.size(); ++i) palette_[i] = i < colours.size() ? colours[i] : 0;
  }

  /// Pixel i of the row goes to column x + i * dx of row y.
  void put(std::span<const std::uint8_t> row, int pixels, int y, int x, int dx) {
    const int channels = format_.channels(), bytes = format_.depth / 8;
    std::size_t to = static_cast<std::size_t>(y) * image_.width + x;
    if (format_.colour == PngFormat::rgb && bytes == 1 && dx == 1) {
      std::copy(row.begin(), row.end(), image_.rgb.begin() + static_cast<std::ptrdiff_t>(3 * to));
      return;
    }
    for (int i = 0; i < pixels; ++i, to += dx) {
      std::uint8_t* const rgb = &image_.rgb[3 * to];
      const std::uint8_t* const from = &row[bytes ? std::size_t(i) * channels * bytes : 0];
      if (channels >= 3) {  // of 16 bits, the high byte
        for (int c = 0; c < 3; ++c) rgb[c] = from[c * bytes];
      } else if (format_.colour == PngFormat::palette) {
        std::copy_n(&palette_[3 * sample(row, i)], 3, rgb);
      } else {
        std::fill_n(rgb, 3, grey(row, i, from));
      }
      if (!image_.alpha.empty()) image_.alpha[to] = from[(channels - 1) * bytes];
    }
  }

  Image take() { return std::move(image_); }

 private:
  /// Sample i of a row of 1, 2, 4 or 8 bits.
  std::size_t sample(std::span<const std::uint8_t> row, int i) const {
    const int per_byte = 8 / format_.depth;
    return row[i / per_byte] >> (8 - format_.depth * (i % per_byte + 1)) & ((1 << format_.depth) - 1);
  }
  /// 16-bit grey as Pillow's convert("RGB") makes it: values above 255 become 255.
  std::uint8_t grey(std::span<const std::uint8_t> row, int i, const std::uint8_t* from) const {
    if (format_.colour == PngFormat::grey_alpha) return from[0];
    if (format_.depth == 16) return static_cast<std::uint8_t>(std::min(be16(from), 255u));
    return static_cast<std::uint8_t>(sample(row, i) * 255 / ((1u << format_.depth) - 1));
  }

  PngFormat format_;
  Image image_;
  std::array<std::uint8_t, 768> palette_;
};

/// A chunk's name: four letters, or the file is broken there.
inline bool is_png_chunk_name(std::string_view type) {
  return std::all_of(type.begin(), type.end(), [](unsigned char c) { return std::isalnum(c) || c == '_'; });
}

/// Checks the chunks before the image data as Pillow does: whole, with right checksums. Returns where the image data
/// begin; `palette` becomes the contents of PLTE.
inline std::size_t find_png_data(std::span<const std::uint8_t> bytes, std::span<const std::uint8_t>& palette,
                                 std::string_view name) {
  for (std::size_t at = 8;;) {
    if (bytes.size() < at + 12) fail("image ", name, ": the PNG file is truncated, copy it again");
    const std::size_t length = be32(&bytes[at]);
    const std::string_view type(reinterpret_cast<const char*>(&bytes[at + 4]), 4);
    if (type == "IDAT") return at;
    if (!is_png_chunk_name(type)) fail("image ", name, ": no PNG chunk at byte ", at, ": the file is broken");
    if (bytes.size() - at - 12 < length) fail("image ", name, ": the PNG file is truncated, copy it again");
    if (::crc32_z(0, &bytes[at + 4], length + 4) != be32(&bytes[at + 8 + length]))
      fail("image ", name, ": the PNG chunk ", type, " at byte ", at, " is damaged (wrong checksum), copy it again");
    if (type == "PLTE") palette = bytes.subspan(at + 8, std::min<std::size_t>(length, 768));
    at += length + 12;
  }
}

/// Pillow reads what follows the pixels: a chunk that has begun must be whole; IEND and checksums may be missing.
inline void check_png_end(std::span<const std::uint8_t> bytes, std::size_t at, std::string_view name) {
  while (at < bytes.size() && bytes.size() - at >= 8) {
    const std::string_view type(reinterpret_cast<const char*>(&bytes[at + 4]), 4);
    if (type == "IEND" || type == "fcTL" || !is_png_chunk_name(type)) return;
    const std::size_t length = be32(&bytes[at]);
    if (bytes.size() - at - 8 < length)
      fail("image ", name, ": the PNG chunk ", type, " at byte ", at, " is truncated, copy it again");
    at += length + 12;
  }
}

/// Decodes PNG, alpha kept apart; transparency of single colours and gamma are ignored, as convert("RGB") does.
inline Image decode_png(std::span<const std::uint8_t> bytes, DecodeTask& task) {
  MemoryBytes memory{bytes};
  const PngFormat format = read_png_format(memory, task.name);
  std::span<const std::uint8_t> colours;
  PngStream stream(bytes, find_png_data(bytes, colours, task.name), task);
  PngPixels pixels(format, colours);
  struct Adam7Pass {
    int x, y, dx, dy;
  };
  static constexpr Adam7Pass whole[] = {{0, 0, 1, 1}};
  static constexpr Adam7Pass adam7[] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                        {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
  const std::size_t step = std::max(1, format.channels() * format.depth / 8);
  std::vector<std::uint8_t> row, above;
  bool more = true;
  for (const Adam7Pass& pass : format.interlaced ? std::span<const Adam7Pass>(adam7) : whole) {
    const int width = (format.size.width - pass.x + pass.dx - 1) / pass.dx;
    if (width <= 0) continue;
    row.assign(1 + format.row_bytes(width), 0);  // the filter byte comes first
    above.assign(row.size(), 0);
    for (int y = pass.y; y < format.size.height && (more = more && stream.read(row)); y += pass.dy) {
      unfilter_png_row(row[0], std::span(row).subspan(1), std::span(above).subspan(1), step, task.name);
      pixels.put(std::span(row).subspan(1), width, y, pass.x, pass.dx);
      row.swap(above);
    }
  }
  check_png_end(bytes, stream.next_chunk(), task.name);
  return pixels.take();
}

}  // namespace lamina::vision::detail
