#pragma once
#include <lamina/vision/header.hpp>
#include <lamina/vision/limit.hpp>

#if defined(LAMINA_HAS_JPEG)
#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE

#include <jerror.h>
#include <jpeglib.h>

namespace lamina::vision::detail {

/// libjpeg reports by callbacks: errors jump back to the decoder, a premature end of the file is an error here (Pillow
/// refuses it too), other warnings are for data that Pillow accepts.
struct JpegErrors {
  jpeg_error_mgr manager{};  // first: libjpeg hands back a pointer to it
  std::jmp_buf jump{};
  char message[JMSG_LENGTH_MAX] = {};

  static void leave(j_common_ptr codec) {
    auto* self = reinterpret_cast<JpegErrors*>(codec->err);
    codec->err->format_message(codec, self->message);
    std::longjmp(self->jump, 1);
  }
  static void warn(j_common_ptr codec, int level) {
    if (level < 0 && codec->err->msg_code == JWRN_JPEG_EOF) leave(codec);
  }
  static void print(j_common_ptr) {}
};

/// Stops files made of endless progressive scans: real ones have about ten.
inline void limit_scans(j_common_ptr codec) {
  constexpr int most_scans = 500;
  auto* decoder = reinterpret_cast<j_decompress_ptr>(codec);
  if (decoder->input_scan_number > most_scans) ERREXIT(codec, JERR_BAD_PROGRESSION);
}

/// Decodes into `rows`, (height, width, components) with 1, 3 or 4 components as the file has them. Everything that a
/// jump could leave behind is the caller's. Returns false with errors.message filled.
inline bool decode_jpeg_rows(jpeg_decompress_struct& codec, jpeg_progress_mgr& progress, JpegErrors& errors,
                             std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& rows) {
  if (setjmp(errors.jump)) return false;
  jpeg_create_decompress(&codec);
  codec.progress = &progress;
  jpeg_mem_src(&codec, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_read_header(&codec, TRUE);
  // Pillow's settings: the accurate integer DCT and interpolated chroma are libjpeg's defaults, spelt out.
  codec.dct_method = JDCT_ISLOW;
  codec.do_fancy_upsampling = TRUE;
  if (codec.num_components == 3) codec.out_color_space = JCS_RGB;
  jpeg_start_decompress(&codec);
  const std::size_t stride = static_cast<std::size_t>(codec.output_width) * codec.output_components;
  rows.resize(stride * codec.output_height);
  while (codec.output_scanline < codec.output_height) {
    JSAMPROW row = rows.data() + stride * codec.output_scanline;
    jpeg_read_scanlines(&codec, &row, 1);
  }
  jpeg_finish_decompress(&codec);
  return true;
}

/// Grey is repeated; CMYK is taken as inverted, as Adobe writes it and Pillow reads it, and multiplied out as Pillow's
/// convert("RGB") does. (Pillow resizes CMYK before converting; here it is converted first.)
inline std::vector<std::uint8_t> jpeg_to_rgb(std::vector<std::uint8_t> rows, int components) {
  if (components == 3) return rows;
  const std::size_t pixels = rows.size() / components;
  std::vector<std::uint8_t> rgb(pixels * 3);
  for (std::size_t i = 0; i < pixels; ++i)
    for (int c = 0; c < 3; ++c) {
      if (components == 1) {
        rgb[3 * i + c] = rows[i];
      } else {
        const int light = rows[4 * i + 3], ink = 255 - rows[4 * i + c];
        rgb[3 * i + c] = static_cast<std::uint8_t>(std::max(light - mul_div_255(ink, light), 0));
      }
    }
  return rgb;
}

/// Decodes with libjpeg (Debian's and Pillow's are both libjpeg-turbo: equal pixels).
inline Image decode_jpeg(std::span<const std::uint8_t> bytes, ImageSize size, std::string_view name) {
  // Each 8x8 block of the widest component takes a bit at least, so a byte holds at most 512 pixels.
  check_plausible(size, bytes.size(), 512, name);
  jpeg_decompress_struct codec{};
  jpeg_progress_mgr progress{};
  progress.progress_monitor = limit_scans;
  JpegErrors errors;
  codec.err = jpeg_std_error(&errors.manager);
  errors.manager.error_exit = JpegErrors::leave;
  errors.manager.emit_message = JpegErrors::warn;
  errors.manager.output_message = JpegErrors::print;
  std::vector<std::uint8_t> rows;
  const bool ok = decode_jpeg_rows(codec, progress, errors, bytes, rows);
  const int components = codec.output_components;
  const ImageSize decoded{static_cast<int>(codec.output_width), static_cast<int>(codec.output_height)};
  jpeg_destroy_decompress(&codec);
  if (!ok) fail("image ", name, ": broken or truncated JPEG (", errors.message, "): copy it again or remove it");
  if (decoded != size || (components != 1 && components != 3 && components != 4))
    fail("image ", name, ": JPEG with ", components, " components of ", decoded.width, " x ", decoded.height,
         ", its header says ", size.width, " x ", size.height);
  return {size.width, size.height, jpeg_to_rgb(std::move(rows), components), {}, false};
}

}  // namespace lamina::vision::detail
#endif
