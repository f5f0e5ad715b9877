#pragma once
#include <lamina/vision/formats/header.hpp>

#if defined(LAMINA_HAS_WEBP)
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>
#endif

namespace lamina::vision::detail {

/// What the chunks of a WebP file say (RFC 9649).
struct WebpChunks {
  ImageSize canvas;
  int frames = 1;
  int orientation = 1;
  bool alpha = false;     ///< of the canvas
  bool lossless = false;  ///< the first frame is VP8L, or has a losslessly coded alpha channel
};

/// The size of a frame, from the first bytes of its VP8 or VP8L data, at `at`.
template <class Bytes>
void read_webp_frame(Bytes& bytes, std::string_view chunk, std::uint64_t at, WebpChunks& found, std::string_view name) {
  if (chunk == "VP8 ") {
    const auto head = read_exactly<10>(bytes, at, name);
    found.canvas = {static_cast<int>(le16(&head[6]) & 0x3fff), static_cast<int>(le16(&head[8]) & 0x3fff)};
    return;
  }
  const auto head = read_exactly<5>(bytes, at, name);
  if (chunk != "VP8L" || head[0] != 0x2f)
    fail("image ", name, ": no WebP frame in the place of one: the file is broken");
  const std::uint32_t bits = le32(&head[1]);
  found.canvas = {static_cast<int>(bits & 0x3fff) + 1, static_cast<int>(bits >> 14 & 0x3fff) + 1};
  found.alpha = bits >> 28 & 1;
  found.lossless = true;
}

/// Walks the chunks of an extended file.
template <class Bytes>
void walk_webp_chunks(Bytes& bytes, WebpChunks& found, std::string_view name) {
  HeaderParts parts;
  int animated_frames = 0;
  for (std::uint64_t at = 30; at + 8 <= bytes.size();) {
    parts.next(name);
    const auto chunk = read_exactly<8>(bytes, at, name);
    const std::uint64_t length = le32(&chunk[4]);
    const std::string_view type = tag(chunk, 0);
    if (type == "VP8L" || type == "ALPH" || type == "ANMF") found.lossless = true;  // of ANMF: possibly
    if (type == "ANMF") ++animated_frames;
    if (type == "EXIF") found.orientation = exif_orientation(bytes, at + 8, length);
    at += 8 + length + length % 2;
  }
  found.frames = std::max(animated_frames, 1);
}

template <class Bytes>
WebpChunks read_webp_chunks(Bytes& bytes, std::string_view name) {
  const auto head = read_exactly<25>(bytes, 0, name);
  WebpChunks found;
  if (tag(head, 12) == "VP8X") {
    const auto canvas = read_exactly<30>(bytes, 0, name);
    found.canvas = {static_cast<int>(le16(&canvas[24]) | canvas[26] << 16) + 1,
                    static_cast<int>(le16(&canvas[27]) | canvas[29] << 16) + 1};
    found.alpha = canvas[20] & 0x10;
    walk_webp_chunks(bytes, found, name);
  } else {
    read_webp_frame(bytes, tag(head, 12), 20, found, name);
  }
  check_size(found.canvas, name);
  return found;
}

/// libwebp's memory. A lossless frame is kept as 32-bit pixels, and a region of 4 x 4 pixels may have Huffman tables of
/// its own: 5 KiB for the 20 bits that the shortest ones take, up to 12 KiB if long codes fill them.
inline std::uint64_t webp_working_bytes(const WebpChunks& found, std::uint64_t file_bytes) {
  const std::uint64_t pixels = found.canvas.pixels();
  std::uint64_t bytes = pixels * (found.alpha ? 4 + 4 + 1 : 3) + std::uint64_t{256} * found.canvas.width + (2 << 20);
  if (found.lossless) {
    const std::uint64_t groups = std::min({pixels / 16 + 1, std::uint64_t{65536}, file_bytes * 8 / 20});
    bytes += 4 * pixels + groups * (5 << 10) + std::min(file_bytes * 128, groups * (7 << 10));
  }
  return bytes;
}

template <class Bytes>
ImageHeader webp_header(Bytes& bytes, std::string_view name) {
  const WebpChunks found = read_webp_chunks(bytes, name);
  return {.format = Format::webp,
          .size = found.canvas,
          .frames = found.frames,
          .has_alpha = found.alpha,
          .orientation = found.orientation,
          .working_bytes = webp_working_bytes(found, bytes.size())};
}

#if defined(LAMINA_HAS_WEBP)
using WebpDemuxer = std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)>;
using WebpDecoder = std::unique_ptr<WebPIDecoder, void (*)(WebPIDecoder*)>;

/// Decodes one frame into `pixels`, in pieces, so that the limits are looked at in between.
inline void decode_webp_frame(const WebPIterator& frame, WEBP_CSP_MODE mode, std::span<std::uint8_t> pixels, int stride,
                              DecodeTask& task) {
  const WebpDecoder decoder(WebPINewRGB(mode, pixels.data(), pixels.size(), stride), WebPIDelete);
  if (!decoder) throw std::bad_alloc();
  const std::size_t size = frame.fragment.size, piece = std::max<std::size_t>(size / 16, 64 << 10);
  for (std::size_t end = std::min(piece, size);; end = std::min(end + piece, size)) {
    task.check(piece);
    const VP8StatusCode status = WebPIUpdate(decoder.get(), frame.fragment.bytes, end);
    if (status == VP8_STATUS_OK) return;
    if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
    if (status != VP8_STATUS_SUSPENDED || end == size)
      fail("image ", task.name, ": broken or truncated WebP data: copy it again or remove it");
  }
}

/// Decodes the first frame of a WebP file, alpha kept apart. As in Pillow, what it leaves bare is black and
/// transparent.
inline Image decode_webp(std::span<const std::uint8_t> bytes, const ImageHeader& header, DecodeTask& task) {
  const WebPData data{bytes.data(), bytes.size()};
  const WebpDemuxer demuxer(WebPDemux(&data), WebPDemuxDelete);
  WebPIterator frame{};
  if (!demuxer || !WebPDemuxGetFrame(demuxer.get(), 1, &frame))
    fail("image ", task.name, ": broken or truncated WebP file: copy it again or remove it");
  const std::unique_ptr<WebPIterator, void (*)(WebPIterator*)> release(&frame, WebPDemuxReleaseIterator);
  const ImageSize canvas{static_cast<int>(WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH)),
                         static_cast<int>(WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT))};
  const ImageSize size{frame.width, frame.height};
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &features) != VP8_STATUS_OK || canvas != header.size ||
      ImageSize{features.width, features.height} != size)
    fail("image ", task.name, ": its WebP frame and its header state different sizes: the file is broken");
  const bool alpha = WebPDemuxGetI(demuxer.get(), WEBP_FF_FORMAT_FLAGS) & ALPHA_FLAG;
  const int channels = alpha ? 4 : 3, stride = canvas.width * channels;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(canvas.pixels()) * channels);
  const std::size_t first = static_cast<std::size_t>(frame.y_offset) * stride + frame.x_offset * channels;
  decode_webp_frame(frame, alpha ? MODE_RGBA : MODE_RGB, std::span(pixels).subspan(first), stride, task);
  if (alpha) return split_alpha(canvas, pixels.data());
  return {.width = canvas.width, .height = canvas.height, .rgb = std::move(pixels)};
}
#endif

}  // namespace lamina::vision::detail
