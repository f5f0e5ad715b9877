#pragma once
#include <lamina/vision/formats/header.hpp>

#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE
#include <new>

#include <jerror.h>
#include <jpeglib.h>

namespace lamina::vision::detail {

/// The frame header (SOFn) of a JPEG file.
struct JpegFrame {
  ImageSize size;
  int components = 0, max_h = 1, max_v = 1;
  std::array<int, 4> h{}, v{};  ///< sampling factors
  bool huffman = true, progressive = false;
  /// Blocks of 64 coefficients of all components, whole MCUs.
  std::uint64_t blocks() const {
    const std::uint64_t across = (size.width + 8 * max_h - 1) / (8 * max_h);
    const std::uint64_t down = (size.height + 8 * max_v - 1) / (8 * max_v);
    std::uint64_t sum = 0;
    for (int i = 0; i < components; ++i) sum += across * h[i] * down * v[i];
    return sum;
  }
};

template <class Bytes>
JpegFrame read_jpeg_frame(Bytes& bytes, std::uint64_t at, unsigned code, std::string_view name) {
  const auto head = read_exactly<8>(bytes, at, name);  // length, precision, height, width, components
  JpegFrame frame{.size = {static_cast<int>(be16(&head[5])), static_cast<int>(be16(&head[3]))}};
  check_size(frame.size, name);
  frame.components = head[7];
  if (frame.components != 1 && frame.components != 3 && frame.components != 4)
    fail("image ", name, ": a JPEG with ", frame.components, " components, 1, 3 or 4 are read: convert it to RGB");
  for (int i = 0; i < frame.components; ++i) {
    const auto component = read_exactly<3>(bytes, at + 8 + 3 * i, name);
    frame.h[i] = component[1] >> 4;
    frame.v[i] = component[1] & 15;
    if (frame.h[i] < 1 || frame.h[i] > 4 || frame.v[i] < 1 || frame.v[i] > 4)
      fail("image ", name, ": JPEG sampling factors ", frame.h[i], " x ", frame.v[i], ": the file is broken");
    frame.max_h = std::max(frame.max_h, frame.h[i]);
    frame.max_v = std::max(frame.max_v, frame.v[i]);
  }
  frame.progressive = (code & 3) == 2;
  frame.huffman = code <= 0xc7;
  return frame;
}

/// libjpeg keeps all coefficients of a file of several scans, else some rows of blocks.
inline std::uint64_t jpeg_working_bytes(const JpegFrame& frame, bool several_scans) {
  const std::uint64_t rows = std::uint64_t{8} * 8 * frame.max_v * frame.components * (frame.size.width + 32);
  return 3 * frame.size.pixels() + rows + (several_scans ? frame.blocks() * 64 * sizeof(JCOEF) : 0) + (1 << 20);
}

/// Walks the segments up to the first scan.
template <class Bytes>
ImageHeader jpeg_header(Bytes& bytes, std::string_view name) {
  ImageHeader header{.format = Format::jpeg};
  std::optional<JpegFrame> frame;
  HeaderParts parts;
  for (std::uint64_t at = 2;;) {
    parts.next(name);
    const auto marker = read_exactly<2>(bytes, at, name);
    if (marker[0] != 0xff || marker[1] == 0xff || marker[1] == 0) {  // fill bytes; libjpeg steps over others too
      ++at;
      continue;
    }
    const unsigned code = marker[1];
    at += 2;
    if (code == 0x01 || (code >= 0xd0 && code <= 0xd8)) continue;  // TEM, RSTn and SOI have no length
    if (code == 0xd9 || (code == 0xda && !frame))
      fail("image ", name, ": JPEG data without a frame header: the file is broken");
    const unsigned length = be16(read_exactly<2>(bytes, at, name).data());
    if (length < 2) fail("image ", name, ": a JPEG segment of length ", length, ": the file is broken");
    if (code == 0xda) {
      const int scan_components = read_exactly<1>(bytes, at + 2, name)[0];
      header.size = frame->size;
      header.working_bytes = jpeg_working_bytes(*frame, frame->progressive || scan_components < frame->components);
      // Each block of the finest component takes a bit at least, unless arithmetic coding packs several into one.
      if (frame->huffman) check_plausible(header.size, bytes.size(), 512, name);
      return header;
    }
    if (code >= 0xc0 && code <= 0xcf && code != 0xc4 && code != 0xc8 && code != 0xcc)
      frame = read_jpeg_frame(bytes, at, code, name);
    if (code == 0xe1 && length > 8) {  // APP1
      const auto id = read_exactly<6>(bytes, at + 2, name);
      if (std::memcmp(id.data(), "Exif\0\0", 6) == 0) header.orientation = exif_orientation(bytes, at + 8, length - 8);
    }
    at += length;
  }
}

/// libjpeg reports by callbacks: errors jump back to the decoder. The end of the file before the last row is an error,
/// as for Pillow; other warnings are about data that Pillow accepts.
struct JpegCodec {
  jpeg_error_mgr manager{};  // first: libjpeg hands back a pointer to it
  jpeg_decompress_struct codec{};
  jpeg_progress_mgr progress{};
  std::jmp_buf jump{};
  DecodeTask* task;
  bool created = false;  ///< the library accepted our version and structures
  std::string stopped;   ///< why our limits ended decoding
  char message[JMSG_LENGTH_MAX] = {};

  explicit JpegCodec(DecodeTask& t) : task(&t) {
    codec.err = jpeg_std_error(&manager);
    manager.error_exit = leave;
    manager.emit_message = warn;
    manager.output_message = print;
    progress.progress_monitor = watch;
  }
  JpegCodec(const JpegCodec&) = delete;
  JpegCodec& operator=(const JpegCodec&) = delete;
  ~JpegCodec() { jpeg_destroy_decompress(&codec); }

  static JpegCodec& of(j_common_ptr common) { return *reinterpret_cast<JpegCodec*>(common->err); }
  static void leave(j_common_ptr common) {
    common->err->format_message(common, of(common).message);
    std::longjmp(of(common).jump, 1);
  }
  static void warn(j_common_ptr common, int level) {
    const jpeg_decompress_struct& codec = of(common).codec;
    const bool has_all_rows = codec.output_height > 0 && codec.output_scanline >= codec.output_height;
    if (level < 0 && common->err->msg_code == JWRN_JPEG_EOF && !has_all_rows) leave(common);
  }
  static void print(j_common_ptr) {}

  /// Called for each row of blocks of each scan, and for each output row.
  static void watch(j_common_ptr common) {
    JpegCodec& self = of(common);
    const auto pixels = std::int64_t{self.codec.image_width} * self.codec.image_height;
    const int scans = self.codec.input_scan_number, most = most_jpeg_scans(self.task->limits, pixels);
    if (scans > most)
      self.stopped = cat("a progressive JPEG of more than ", most, " scans: save it again as a common JPEG");
    else
      self.stopped = self.task->stopped(std::size_t{self.codec.image_width} * 8);
    if (!self.stopped.empty()) std::longjmp(self.jump, 1);
  }
};

/// A row of CMYK or YCCK, inverted as Adobe writes it and Pillow reads it, multiplied out as Pillow's convert("RGB")
/// does. (Pillow resizes CMYK before it converts; here it is converted first.)
inline void cmyk_to_rgb(const std::uint8_t* cmyk, std::size_t pixels, std::uint8_t* rgb) {
  for (std::size_t i = 0; i < pixels; ++i)
    for (int c = 0; c < 3; ++c) {
      const int light = cmyk[4 * i + 3], ink = 255 - cmyk[4 * i + c];
      rgb[3 * i + c] = static_cast<std::uint8_t>(std::max(light - div_255(ink * light), 0));
    }
}

/// Decodes into `rgb`. The caller owns everything that a jump could leave allocated. Returns false with the reason in
/// `jpeg`.
inline bool decode_jpeg_rows(JpegCodec& jpeg, std::span<const std::uint8_t> bytes, const ImageHeader& header,
                             int library_version, std::vector<std::uint8_t>& rgb, std::vector<std::uint8_t>& cmyk) {
  jpeg_decompress_struct& codec = jpeg.codec;
  if (setjmp(jpeg.jump)) return false;
  jpeg_CreateDecompress(&codec, library_version, sizeof codec);
  jpeg.created = true;
  codec.progress = &jpeg.progress;
  codec.mem->max_memory_to_use = static_cast<long>(header.working_bytes);
  jpeg_mem_src(&codec, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&codec, TRUE);
  // Pillow's settings: the accurate integer DCT and interpolated chroma are libjpeg's defaults, spelt out.
  codec.dct_method = JDCT_ISLOW;
  codec.do_fancy_upsampling = TRUE;
  codec.out_color_space = codec.num_components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&codec);
  if (ImageSize{static_cast<int>(codec.output_width), static_cast<int>(codec.output_height)} != header.size) {
    jpeg.stopped = "its frame headers contradict each other: the file is broken";
    return false;
  }
  const std::size_t width = codec.output_width;
  rgb.resize(width * codec.output_height * 3);
  if (codec.num_components == 4) cmyk.resize(width * 4);
  while (codec.output_scanline < codec.output_height) {
    std::uint8_t* const to = rgb.data() + width * codec.output_scanline * 3;
    JSAMPROW row = cmyk.empty() ? to : cmyk.data();
    jpeg_read_scanlines(&codec, &row, 1);
    if (!cmyk.empty()) cmyk_to_rgb(cmyk.data(), width, to);
  }
  jpeg_finish_decompress(&codec);
  return true;
}

/// Decodes with libjpeg (Debian's and Pillow's are both libjpeg-turbo: equal pixels), whose interface must be
/// `library_version`: several libraries of one name exist, and the headers' one need not be the one that was loaded.
inline Image decode_jpeg(std::span<const std::uint8_t> bytes, const ImageHeader& header, DecodeTask& task,
                         int library_version = JPEG_LIB_VERSION) {
  JpegCodec jpeg(task);
  Image image{.width = header.size.width, .height = header.size.height};
  std::vector<std::uint8_t> cmyk;
  if (decode_jpeg_rows(jpeg, bytes, header, library_version, image.rgb, cmyk)) return image;
  if (!jpeg.stopped.empty()) fail("image ", task.name, ": ", jpeg.stopped);
  if (!jpeg.created)
    fail("image ", task.name, ": this program was built for another JPEG library than the one that was loaded (",
         jpeg.message, "): install the libjpeg-turbo that it was built with, or look at LD_LIBRARY_PATH");
  if (jpeg.manager.msg_code == JERR_OUT_OF_MEMORY) throw std::bad_alloc();
  fail("image ", task.name, ": broken or truncated JPEG (", jpeg.message, "): copy it again or remove it");
}

}  // namespace lamina::vision::detail
