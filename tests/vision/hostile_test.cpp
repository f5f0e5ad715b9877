#include "vision/golden.hpp"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <functional>

/// Files made to cost much more than they look: each is refused, or read within the memory that its header announces.

using namespace lamina;
using namespace lamina::vision;

namespace {

using Bytes = std::vector<std::uint8_t>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool memory_can_be_limited = false;  // their shadow memory is counted too
#else
constexpr bool memory_can_be_limited = true;
#endif

/// From the start, large blocks are mapped alone, and threads have no arenas of their own: no block is ever made of
/// memory that was freed and kept, or of address space that another thread's arena has reserved.
[[maybe_unused]] const bool only_new_memory = ::mallopt(M_MMAP_THRESHOLD, 64 << 10) && ::mallopt(M_ARENA_MAX, 1);

/// Address space of this process in bytes.
std::uint64_t address_space() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// Decodes in a child process that may grow by `bytes`. Returns what became of it.
std::string decode_within(std::uint64_t bytes, const Bytes& file) {
  const ::pid_t child = ::fork();
  if (child == 0) {
    ::malloc_trim(0);
    const ::rlim_t limit = address_space() + bytes;
    const ::rlimit both{limit, limit};
    if (memory_can_be_limited) ::setrlimit(RLIMIT_AS, &both);
    int result = 0;
    try {
      decode_image(file, "hostile");
    } catch (const Error&) {
      result = 1;
    } catch (...) {
      result = 2;
    }
    ::_exit(result);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status)) return "crashed";
  return WEXITSTATUS(status) == 0 ? "decoded" : WEXITSTATUS(status) == 1 ? "refused" : "out of memory";
}

/// Decodes within the memory that the header announces, and some slack for allocators.
std::string decode_as_announced(const Bytes& file) {
  return decode_within(read_image_header(file, "hostile").working_bytes + (8 << 20), file);
}

void append(Bytes& to, std::string_view text) { to.insert(to.end(), text.begin(), text.end()); }
void append_be32(Bytes& to, std::uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<std::uint8_t>(v >> shift));
}
void append_le(Bytes& to, std::uint32_t v, int bytes) {
  for (int i = 0; i < bytes; ++i) to.push_back(static_cast<std::uint8_t>(v >> 8 * i));
}

void append_chunk(Bytes& png, std::string_view type, const Bytes& data) {
  append_be32(png, static_cast<std::uint32_t>(data.size()));
  const std::size_t begin = png.size();
  append(png, type);
  png.insert(png.end(), data.begin(), data.end());
  append_be32(png, static_cast<std::uint32_t>(::crc32_z(0, &png[begin], png.size() - begin)));
}

/// zlib's stream of `count` zeros.
Bytes deflated_zeros(std::size_t count) {
  z_stream stream{};
  REQUIRE(deflateInit(&stream, 9) == Z_OK);
  Bytes zeros(1 << 20), out(count / 500 + 1000);
  stream.next_out = out.data(), stream.avail_out = static_cast<uInt>(out.size());
  for (std::size_t done = 0; done < count; done += zeros.size()) {
    stream.next_in = zeros.data(), stream.avail_in = static_cast<uInt>(std::min(zeros.size(), count - done));
    deflate(&stream, Z_NO_FLUSH);
  }
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// A grey PNG with these image data, and perhaps a text chunk before them.
Bytes grey_png(std::uint32_t width, std::uint32_t height, const Bytes& data, const Bytes& text = {}) {
  Bytes png, header;
  append(png, "\x89PNG\r\n\x1a\n");
  append_be32(header, width), append_be32(header, height);
  append(header, std::string_view("\x08\0\0\0\0", 5));
  append_chunk(png, "IHDR", header);
  if (!text.empty()) append_chunk(png, "zTXt", text);
  append_chunk(png, "IDAT", data);
  append_chunk(png, "IEND", {});
  return png;
}

/// A grey JPEG; progressive ones have a scan for each coefficient and then each one's last bit: 127 of them.
Bytes jpeg(int width, int height, bool many_scans) {
  std::vector<jpeg_scan_info> scans{{1, {0}, 0, 0, 0, 0}};
  for (int low : {1, 0})
    for (int k = 1; k < 64; ++k) scans.push_back({1, {0}, k, k, low ? 0 : 1, low});
  jpeg_compress_struct codec{};
  jpeg_error_mgr errors{};
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&codec, &out, &size);
  codec.image_width = static_cast<JDIMENSION>(width), codec.image_height = static_cast<JDIMENSION>(height);
  codec.input_components = 1;
  codec.in_color_space = JCS_GRAYSCALE;
  jpeg_set_defaults(&codec);
  jpeg_simple_progression(&codec);
  if (many_scans) codec.scan_info = scans.data(), codec.num_scans = static_cast<int>(scans.size());
  jpeg_start_compress(&codec, TRUE);
  Bytes row(static_cast<std::size_t>(width));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) row[static_cast<std::size_t>(x)] = static_cast<std::uint8_t>(x * y);
    JSAMPROW line = row.data();
    jpeg_write_scanlines(&codec, &line, 1);
  }
  jpeg_finish_compress(&codec);
  Bytes bytes(out, out + size);
  jpeg_destroy_compress(&codec);
  std::free(out);
  return bytes;
}

/// A GIF of one colour whose LZW codes encode ever longer strings, and continue after the last pixel.
Bytes gif_bomb(int side, int codes) {
  Bytes gif, data;
  append(gif, "GIF89a");
  for (int i = 0; i < 2; ++i) append_le(gif, static_cast<std::uint32_t>(side), 2);
  append(gif, std::string_view("\x80\0\0\0\0\0\xff\xff\xff", 9));
  append(gif, std::string_view(",\0\0\0\0", 5));
  for (int i = 0; i < 2; ++i) append_le(gif, static_cast<std::uint32_t>(side), 2);
  append(gif, std::string_view("\0\x02", 2));
  std::uint64_t buffer = 0;
  int held = 0, next = 6, size = 3;
  const auto put = [&](int code) {
    buffer |= static_cast<std::uint64_t>(code) << held;
    for (held += size; held >= 8; held -= 8, buffer >>= 8) data.push_back(static_cast<std::uint8_t>(buffer));
  };
  put(4), put(0);
  for (int i = 0; i < codes; ++i) {
    put(std::min(next, 4095));
    if (next < 4096 && next++ == (1 << size) - 1 && size < 12) ++size;
  }
  put(5), put(0), put(0);
  for (std::size_t at = 0; at < data.size(); at += 255) {
    const std::size_t n = std::min<std::size_t>(255, data.size() - at);
    gif.push_back(static_cast<std::uint8_t>(n));
    gif.insert(gif.end(), data.begin() + static_cast<std::ptrdiff_t>(at),
               data.begin() + static_cast<std::ptrdiff_t>(at + n));
  }
  append(gif, std::string_view("\0;", 2));
  return gif;
}

/// A lossless WebP of one colour: 40 bytes, whatever its size.
Bytes webp_bomb(std::uint32_t side) {
  Bytes webp;
  append(webp, std::string_view("RIFF\x20\0\0\0WEBPVP8L\x14\0\0\0\x2f", 21));
  append_le(webp, (side - 1) | (side - 1) << 14, 4);
  append(webp, std::string_view("\x07\x10\x11\x11\x88\x88\x08\0\0\0\0\0\0\0\0", 15));
  return webp;
}

Bytes rle_bmp(std::uint32_t width, std::uint32_t height, int bytes_of_runs) {
  Bytes bmp;
  append(bmp, "BM");
  for (std::uint32_t v : {0u, 0u, 54u + 1024u, 40u, width, height}) append_le(bmp, v, 4);
  append_le(bmp, 1, 2), append_le(bmp, 8, 2);
  for (std::uint32_t v : {1u, 0u, 0u, 0u, 0u, 0u}) append_le(bmp, v, 4);
  bmp.resize(bmp.size() + 1024);
  // A jump of 255 rows, for Pillow in the second pair.
  for (int i = 0; i < bytes_of_runs / 6; ++i) append(bmp, std::string_view("\0\2\0\0\0\xff", 6));
  return bmp;
}

void check_refused(const Bytes& bytes, const DecodeLimits& limits, const std::string& why) {
  const std::string message = golden::error_of([&] { decode_image(bytes, "hostile", limits); });
  CAPTURE(message, why);
  CHECK(golden::contains(message, "hostile"));
  CHECK(golden::contains(message, why));
}

/// Processor time of decoding, the best of three.
std::chrono::nanoseconds cost(const Bytes& bytes) {
  auto best = std::chrono::nanoseconds::max();
  for (int round = 0; round < 3; ++round) {
    const auto before = vision::detail::thread_cpu_time();
    decode_image(bytes, "hostile");
    best = std::min(best, vision::detail::thread_cpu_time() - before);
  }
  return best;
}

}  // namespace

TEST_CASE("Image: decoding takes no more memory than the header announces") {
  CHECK(decode_as_announced(grey_png(3000, 2000, deflated_zeros(3001 * 2000))) == "decoded");
  CHECK(decode_as_announced(jpeg(3000, 2000, false)) == "decoded");
  CHECK(decode_as_announced(gif_bomb(2000, 4000)) == "decoded");
#if defined(LAMINA_HAS_WEBP)
  CHECK(decode_as_announced(webp_bomb(2000)) == "decoded");
#endif
  CHECK(decode_as_announced(rle_bmp(2000, 2000, 100)) == "decoded");
  if (memory_can_be_limited) CHECK(decode_within(8 << 20, jpeg(3000, 2000, false)) == "out of memory");
}

TEST_CASE("Image: image data that inflate far beyond the pixels are not followed") {
  const Bytes plain = grey_png(64, 64, deflated_zeros(65 * 64));
  const Bytes bomb = grey_png(64, 64, deflated_zeros(std::size_t{256} << 20));
  CHECK(decode_as_announced(bomb) == "decoded");
  // A comment that inflates to as much is not inflated at all.
  Bytes text{'a', 0, 0};
  const Bytes zeros = deflated_zeros(std::size_t{64} << 20);
  text.insert(text.end(), zeros.begin(), zeros.end());
  const Bytes commented = grey_png(64, 64, deflated_zeros(65 * 64), text);
  CHECK(decode_as_announced(commented) == "decoded");
  const auto usual = cost(plain);
  CHECK(cost(bomb) < 20 * usual);  // in full: thousands of times
}

TEST_CASE("Image: LZW codes behind the last pixel are not followed") {
  CHECK(cost(gif_bomb(64, 400'000)) < 20 * cost(gif_bomb(64, 100)));
}

TEST_CASE("Image: a JPEG of endless scans is refused at the first one too many") {
  const Bytes many = jpeg(256, 256, true);
  check_refused(many, {}, "more than 100 scans");
  check_refused(many, {.max_jpeg_scans = 20}, "more than 20 scans");
  CHECK_NOTHROW(decode_image(many, "hostile", {.max_jpeg_scans = 200}));
  CHECK_NOTHROW(decode_image(jpeg(256, 256, false), "hostile"));
}

TEST_CASE("Image: the larger a JPEG, the fewer scans it may have, down to sixteen") {
  const Bytes many = jpeg(256, 256, true);
  check_refused(many, {.max_jpeg_scans = 200, .max_jpeg_scan_pixels = 126 * 65536}, "more than 126 scans");
  CHECK_NOTHROW(decode_image(many, "hostile", {.max_jpeg_scans = 200, .max_jpeg_scan_pixels = 127 * 65536}));
  check_refused(many, {.max_jpeg_scan_pixels = 1}, "more than 16 scans");
  CHECK_NOTHROW(decode_image(jpeg(256, 256, false), "hostile", {.max_jpeg_scan_pixels = 1}));
  CHECK(vision::detail::most_jpeg_scans({}, 24'000'000) == 44);
  CHECK(vision::detail::most_jpeg_scans({}, max_image_pixels) == 16);
  CHECK(vision::detail::most_jpeg_scans({}, 0) == 100);
}

TEST_CASE("Image: the pixels and the memory of the header are checked before anything is decoded") {
  const Bytes large = grey_png(3000, 2000, deflated_zeros(3001 * 2000));
  check_refused(large, {.max_pixels = 5'999'999}, "at most 5999999");
  CHECK_NOTHROW(decode_image(large, "hostile", {.max_pixels = 6'000'000}));
  const std::uint64_t needed = read_image_header(large, "hostile").working_bytes;
  check_refused(large, {.max_working_bytes = needed - 1}, "bytes of memory");
  CHECK_NOTHROW(decode_image(large, "hostile", {.max_working_bytes = needed}));
  check_refused(rle_bmp(13000, 13000, 12), {}, "truncated");
#if defined(LAMINA_HAS_WEBP)
  check_refused(webp_bomb(16383), {}, "at most");
  check_refused(webp_bomb(12000), {.max_working_bytes = 1 << 28}, "bytes of memory");
#endif
}

TEST_CASE("Image: decoding ends when it is cancelled, or has used its processor time") {
  std::stop_source stop;
  const DecodeLimits cancelled{.stop = stop.get_token()};
  const DecodeLimits no_time{.max_cpu_time = std::chrono::nanoseconds(1)};
  const Bytes files[] = {grey_png(3000, 2000, deflated_zeros(3001 * 2000)), jpeg(1000, 1000, false),
                         gif_bomb(1000, 4000), rle_bmp(1000, 1000, 100)};
  for (const Bytes& file : files) CHECK_NOTHROW(decode_image(file, "hostile", cancelled));
  stop.request_stop();
  for (const Bytes& file : files) {
    check_refused(file, cancelled, "cancelled");
    check_refused(file, no_time, "processor time");
  }
}

TEST_CASE("Image: endless blocks before the pixels are refused") {
  Bytes many_segments{0xff, 0xd8, 0xff, 0xe0};
  for (int i = 0; i < 70'000; ++i) append(many_segments, std::string_view("\0\2\xff\xe0", 4));
  check_refused(many_segments, {}, "blocks before its pixels");
  Bytes png = grey_png(8, 8, deflated_zeros(72));
  Bytes empty;
  for (int i = 0; i < 70'000; ++i) append_chunk(empty, "tEXt", {});
  png.insert(png.begin() + 33, empty.begin(), empty.end());
  check_refused(png, {}, "blocks before its pixels");
}

#if defined(LAMINA_HAS_TIFF)
TEST_CASE("Image: a TIFF directory that asks for gigabytes is refused") {
  for (const std::uint32_t huge : {0x7fffffffu, 0x10000000u}) {
    Bytes tiff;
    append(tiff, std::string_view("II*\0\x08\0\0\0\x07\0", 10));
    const auto entry = [&](unsigned tag, unsigned count, std::uint32_t value) {
      append_le(tiff, tag, 2), append_le(tiff, 4, 2), append_le(tiff, count, 4), append_le(tiff, value, 4);
    };
    entry(256, 1, 64), entry(257, 1, 64), entry(258, 1, 8), entry(262, 1, 1);
    entry(273, huge, 8), entry(278, 1, 1), entry(279, huge, 8);
    append_le(tiff, 0, 4);
    CHECK(decode_within(32 << 20, tiff) == "refused");
  }
}
#endif
