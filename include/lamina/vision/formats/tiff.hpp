#pragma once
#include <lamina/vision/formats/header.hpp>
#include <lamina/vision/formats/jpeg.hpp>

#if defined(LAMINA_HAS_TIFF)
#include <tiffio.h>

#include <cstdarg>
#include <cstdio>
#include <memory>

/// TIFF through libtiff: the kinds that scanners and office programs write, to Pillow's pixels.
/// source: the table OPEN_INFO in Pillow's TiffImagePlugin

namespace lamina::vision::detail {

/// The callbacks that libtiff reads with, and its last error message.
template <class Bytes>
struct TiffInput {
  Bytes* bytes;
  std::uint64_t at = 0;
  char error[200] = "no reason given";

  static TiffInput& of(thandle_t handle) { return *static_cast<TiffInput*>(handle); }
  static tmsize_t read(thandle_t handle, void* to, tmsize_t count) {
    TiffInput& self = of(handle);
    const auto n = self.bytes->read(self.at, {static_cast<std::uint8_t*>(to), static_cast<std::size_t>(count)});
    self.at += n;
    return static_cast<tmsize_t>(n);
  }
  static tmsize_t write(thandle_t, void*, tmsize_t) { return 0; }
  static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    TiffInput& self = of(handle);
    self.at = offset + (whence == SEEK_CUR ? self.at : whence == SEEK_END ? self.bytes->size() : 0);
    return self.at;
  }
  static int close(thandle_t) { return 0; }
  static toff_t size(thandle_t handle) { return of(handle).bytes->size(); }
  static int fail(TIFF*, void* self, const char*, const char* format, va_list values) {
    char(&text)[200] = static_cast<TiffInput*>(self)->error;
    std::vsnprintf(text, sizeof text, format, values);
    return 1;  // handled
  }
  static int warn(TIFF*, void*, const char*, const char*, va_list) { return 1; }
};

using TiffHandle = std::unique_ptr<TIFF, void (*)(TIFF*)>;

/// Opens the first directory. libtiff allocates nothing of more than `max_allocation` bytes.
template <class Bytes>
TiffHandle open_tiff(TiffInput<Bytes>& input, std::uint64_t max_allocation, std::string_view name) {
  using In = TiffInput<Bytes>;
  const std::unique_ptr<TIFFOpenOptions, void (*)(TIFFOpenOptions*)> options(TIFFOpenOptionsAlloc(),
                                                                             TIFFOpenOptionsFree);
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), static_cast<tmsize_t>(max_allocation));
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), In::fail, &input);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), In::warn, &input);
  TiffHandle tiff(TIFFClientOpenExt("", "rm", &input, In::read, In::write, In::seek, In::close, In::size, nullptr,
                                    nullptr, options.get()),
                  TIFFClose);
  if (!tiff) lamina::fail("image ", name, ": broken TIFF file (", input.error, "): copy it again or remove it");
  return tiff;
}

/// The fields of a directory that decide how its pixels are read.
struct TiffFormat {
  ImageSize stored{};  ///< before it is turned
  std::uint16_t bits = 1, samples = 1, photometric = 0, planar = PLANARCONFIG_CONTIG, compression = 1, orientation = 1,
                format = SAMPLEFORMAT_UINT;
  int extra = -1;  ///< kind of the first extra sample, -1: none is declared
  bool tiled = false;
  std::uint64_t piece_bytes = 0;  ///< of a decoded row or tile

  ImageSize size() const { return orientation >= 5 ? ImageSize{stored.height, stored.width} : stored; }
  int colours() const { return photometric == PHOTOMETRIC_SEPARATED ? 4 : photometric == PHOTOMETRIC_RGB ? 3 : 1; }
  bool premultiplied() const { return extra == EXTRASAMPLE_ASSOCALPHA; }
  bool has_alpha() const {
    if (photometric == PHOTOMETRIC_RGB) return samples > 3 && extra != EXTRASAMPLE_UNSPECIFIED;
    return photometric == PHOTOMETRIC_MINISBLACK && samples == 2 && extra == EXTRASAMPLE_UNASSALPHA;
  }
  /// Samples per pixel in a decoded row: with separate planes, one.
  int row_samples() const { return planar == PLANARCONFIG_CONTIG ? samples : 1; }
};

inline bool is_known_tiff_compression(std::uint16_t c) {
  // LZMA and Zstandard files could ask for a window of gigabytes.
  return c == COMPRESSION_NONE || c == COMPRESSION_CCITTRLE || c == COMPRESSION_CCITTFAX3 ||
         c == COMPRESSION_CCITTFAX4 || c == COMPRESSION_LZW || c == COMPRESSION_JPEG || c == COMPRESSION_DEFLATE ||
         c == COMPRESSION_ADOBE_DEFLATE || c == COMPRESSION_PACKBITS;
}

/// Refuses what decode_tiff does not read.
inline void check_tiff_format(const TiffFormat& f, std::string_view name) {
  if (!is_known_tiff_compression(f.compression))
    fail("image ", name, ": TIFF compression ", f.compression,
         " is not read: save it with LZW, deflate, JPEG or fax compression, or as PNG");
  const bool whole_bytes = f.bits == 8 || f.bits == 16, few_bits = f.bits == 1 || f.bits == 2 || f.bits == 4;
  const bool grey = f.photometric == PHOTOMETRIC_MINISWHITE || f.photometric == PHOTOMETRIC_MINISBLACK;
  const bool known = (grey && f.samples == 1 && (whole_bytes || few_bits)) || (grey && f.has_alpha() && f.bits == 8) ||
                     (f.photometric == PHOTOMETRIC_PALETTE && f.samples == 1 && (f.bits == 8 || few_bits)) ||
                     (f.photometric == PHOTOMETRIC_RGB && f.samples >= 3 && f.samples <= 6 && whole_bytes) ||
                     (f.photometric == PHOTOMETRIC_SEPARATED && f.samples >= 4 && f.samples <= 6 && f.bits == 8);
  if (!known || (f.format != SAMPLEFORMAT_UINT && !(f.format == SAMPLEFORMAT_INT && f.bits == 8)))
    fail("image ", name, ": a TIFF file with ", f.samples, " samples of ", f.bits, " bits, photometric interpretation ",
         f.photometric, " and sample format ", f.format, ", which is not read: save it as PNG");
}

inline TiffFormat read_tiff_format(TIFF* tiff, std::string_view name) {
  TiffFormat f;
  std::uint32_t width = 0, height = 0;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &height);
  f.stored = {side(width), side(height)};
  check_size(f.stored, name);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &f.bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &f.samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &f.planar);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &f.compression);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &f.format);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &f.orientation);
  if (f.orientation < 1 || f.orientation > 8) f.orientation = 1;
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &f.photometric);
  if (f.photometric == PHOTOMETRIC_YCBCR && f.compression == COMPRESSION_JPEG && f.samples == 3) {
    TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);  // libjpeg converts
    f.photometric = PHOTOMETRIC_RGB;
  }
  std::uint16_t extras = 0, *kinds = nullptr;
  if (TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &extras, &kinds) && extras > 0) f.extra = kinds[0];
  check_tiff_format(f, name);
  f.tiled = TIFFIsTiled(tiff) != 0;
  f.piece_bytes = f.tiled ? TIFFTileSize64(tiff) : TIFFScanlineSize64(tiff);
  if (f.piece_bytes == 0) fail("image ", name, ": a TIFF file with strips or tiles of no size: the file is broken");
  return f;
}

/// What the codecs need besides: JPEG data in progressive scans, as libjpeg keeps them, are the most.
inline std::uint64_t tiff_working_bytes(const TiffFormat& f, std::uint64_t file_bytes) {
  const std::uint64_t pixels = f.stored.pixels(), turned = f.orientation > 1 ? 2 : 1;
  const std::uint64_t codec = f.compression == COMPRESSION_JPEG ? 2 * sizeof(JCOEF) * pixels * f.samples : 0;
  return turned * pixels * (f.has_alpha() ? 4 : 3) + codec + 2 * f.piece_bytes + 2 * file_bytes + (4 << 20);
}

template <class Bytes>
ImageHeader tiff_header(Bytes& bytes, std::string_view name) {
  TiffInput<Bytes> input{&bytes};
  // A directory is part of the file, and libtiff unpacks each of its numbers to at most eight bytes.
  const TiffHandle tiff = open_tiff(input, 8 * bytes.size() + (1 << 20), name);
  const TiffFormat f = read_tiff_format(tiff.get(), name);
  return {.format = Format::tiff,
          .size = f.size(),
          .frames = std::nullopt,
          .has_alpha = f.has_alpha(),
          .working_bytes = tiff_working_bytes(f, bytes.size())};
}

/// Writes decoded samples into an Image.
class TiffPixels {
 public:
  TiffPixels(const TiffFormat& format, TIFF* tiff) : format_(format) {
    image_ = {.width = format.stored.width, .height = format.stored.height};
    image_.rgb.resize(static_cast<std::size_t>(format.stored.pixels()) * 3);
    if (format.has_alpha()) image_.alpha.resize(static_cast<std::size_t>(format.stored.pixels()));
    image_.indexed = format.photometric == PHOTOMETRIC_PALETTE || (format.colours() == 1 && format.bits == 1);
    image_.grey = format.has_alpha() && format.photometric != PHOTOMETRIC_RGB;
    if (format.photometric == PHOTOMETRIC_PALETTE) TIFFGetField(tiff, TIFFTAG_COLORMAP, &map_[0], &map_[1], &map_[2]);
  }
  bool has_palette() const { return format_.photometric != PHOTOMETRIC_PALETTE || map_[0]; }

  /// A row of `count` pixels from (x, y) on: all samples, or with separate planes those of `plane`.
  void put(const std::uint8_t* row, int count, int y, int x, int plane) {
    const int samples = format_.row_samples();
    for (int i = 0; i < count; ++i) {
      const std::size_t to = static_cast<std::size_t>(y) * image_.width + x + i;
      if (format_.colours() == 1 && plane == 0) put_one(sample(row, i * samples), to);
      if (format_.photometric == PHOTOMETRIC_SEPARATED) {
        std::uint8_t cmyk[4];
        for (int c = 0; c < 4; ++c) cmyk[c] = static_cast<std::uint8_t>(255 - sample(row, i * samples + c));
        cmyk_to_rgb(cmyk, 1, &image_.rgb[3 * to]);
      }
      for (int s = 0; s < samples && format_.colours() == 3; ++s)
        if (plane + s < 3) image_.rgb[3 * to + plane + s] = high_byte(row, i * samples + s);
      const int alpha = format_.colours();
      if (!image_.alpha.empty() && plane <= alpha && alpha < plane + samples)
        image_.alpha[to] = high_byte(row, i * samples + alpha - plane);
    }
  }

  Image take() {
    if (!image_.alpha.empty() && format_.premultiplied())
      for (std::size_t i = 0; i < image_.rgb.size(); ++i)
        if (const int alpha = image_.alpha[i / 3]; alpha != 255)
          image_.rgb[i] = alpha ? static_cast<std::uint8_t>(std::min(255 * image_.rgb[i] / alpha, 255)) : 0;
    return std::move(image_);
  }

 private:
  unsigned sample(const std::uint8_t* row, int i) const {
    if (format_.bits == 16) {
      std::uint16_t value;  // in this machine's byte order
      std::memcpy(&value, row + 2 * static_cast<std::size_t>(i), 2);
      return value;
    }
    const int per_byte = 8 / format_.bits;
    return row[i / per_byte] >> (8 - format_.bits * (i % per_byte + 1)) & ((1u << format_.bits) - 1);
  }
  std::uint8_t high_byte(const std::uint8_t* row, int i) const {
    return static_cast<std::uint8_t>(sample(row, i) >> (format_.bits - 8));
  }
  void put_one(unsigned value, std::size_t to) {
    std::uint8_t* const rgb = &image_.rgb[3 * to];
    if (format_.photometric == PHOTOMETRIC_PALETTE) {
      for (int c = 0; c < 3; ++c) rgb[c] = static_cast<std::uint8_t>(map_[c][value] >> 8);
      return;
    }
    // Pillow's convert("RGB") cuts 16-bit grey at 255, and does not invert it.
    const unsigned most = (1u << std::min<int>(format_.bits, 8)) - 1;
    unsigned level = std::min(value, most) * 255 / most;
    if (format_.photometric == PHOTOMETRIC_MINISWHITE && format_.bits <= 8) level = 255 - level;
    std::fill_n(rgb, 3, static_cast<std::uint8_t>(level));
  }

  TiffFormat format_;
  Image image_;
  std::array<std::uint16_t*, 3> map_{};
};

/// Turns and mirrors an image as its orientation asks: pixel (x, y) of the result is that at source(x, y).
inline Image oriented(Image image, int orientation) {
  if (orientation == 1) return image;
  const int w = image.width, h = image.height;
  const bool swapped = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out{.width = swapped ? h : w, .height = swapped ? w : h};
  out.indexed = image.indexed;
  out.grey = image.grey;
  out.rgb.resize(image.rgb.size());
  out.alpha.resize(image.alpha.size());
  std::size_t to = 0;
  for (int y = 0; y < out.height; ++y)
    for (int x = 0; x < out.width; ++x, ++to) {
      const int across = swapped ? y : x, down = swapped ? x : y;
      const std::size_t from =
          static_cast<std::size_t>(from_below ? h - 1 - down : down) * w + (from_right ? w - 1 - across : across);
      std::copy_n(&image.rgb[3 * from], 3, &out.rgb[3 * to]);
      if (!out.alpha.empty()) out.alpha[to] = image.alpha[from];
    }
  return out;
}

/// Reads all tiles, or all rows, of one plane. False: libtiff reported an error.
inline bool read_tiff_plane(TIFF* tiff, const TiffFormat& f, int plane, TiffPixels& pixels, DecodeTask& task) {
  std::vector<std::uint8_t> piece(f.piece_bytes);
  if (!f.tiled) {
    for (int y = 0; y < f.stored.height; ++y) {
      if (TIFFReadScanline(tiff, piece.data(), y, static_cast<std::uint16_t>(plane)) < 0) return false;
      pixels.put(piece.data(), f.stored.width, y, 0, plane);
      task.check(piece.size());
    }
    return true;
  }
  std::uint32_t width = 0, height = 0;
  TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &width);
  TIFFGetField(tiff, TIFFTAG_TILELENGTH, &height);
  const std::size_t row_bytes = static_cast<std::size_t>(TIFFTileRowSize64(tiff));
  for (std::int64_t y = 0; y < f.stored.height; y += height)
    for (std::int64_t x = 0; x < f.stored.width; x += width) {
      if (TIFFReadTile(tiff, piece.data(), static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(y), 0,
                       static_cast<std::uint16_t>(plane)) < 0)
        return false;
      const int across = static_cast<int>(std::min<std::int64_t>(width, f.stored.width - x));
      for (std::int64_t row = 0; row < std::min<std::int64_t>(height, f.stored.height - y); ++row)
        pixels.put(&piece[row * row_bytes], across, static_cast<int>(y + row), static_cast<int>(x), plane);
      task.check(piece.size());
    }
  return true;
}

/// Decodes the first page, upright: of all formats, Pillow applies the orientation of this one.
inline Image decode_tiff(std::span<const std::uint8_t> bytes, const ImageHeader& header, DecodeTask& task) {
  MemoryBytes memory{bytes};
  TiffInput<MemoryBytes> input{&memory};
  const TiffHandle tiff = open_tiff(input, header.working_bytes, task.name);
  const TiffFormat f = read_tiff_format(tiff.get(), task.name);
  TiffPixels pixels(f, tiff.get());
  if (!pixels.has_palette()) fail("image ", task.name, ": a TIFF file without its colour table: the file is broken");
  const int planes = f.planar == PLANARCONFIG_CONTIG ? 1 : f.samples;
  for (int plane = 0; plane < planes; ++plane)
    if (!read_tiff_plane(tiff.get(), f, plane, pixels, task))
      fail("image ", task.name, ": broken or truncated TIFF (", input.error, "): copy it again or remove it");
  return oriented(pixels.take(), f.orientation);
}

}  // namespace lamina::vision::detail
#endif
