#include "vision/golden.hpp"

#include <unistd.h>

#include <fstream>

using namespace lamina;
using namespace lamina::vision;

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes read_golden(const std::string& file) {
  std::ifstream in(golden::folder() / file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Bytes text(const std::string& s) { return {s.begin(), s.end()}; }

/// Decoding must fail with our error, naming the image.
void check_refused(const Bytes& bytes, const std::string& why) {
  const std::string message = golden::error_of([&] { decode_image(bytes, "pic.bin"); });
  CAPTURE(message, why);
  CHECK(golden::contains(message, "pic.bin"));
  CHECK(golden::contains(message, why));
}

void put_be32(Bytes& bytes, std::size_t at, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::uint8_t>(v >> (24 - 8 * i));
}

/// A PNG of this size, with a valid IHDR checksum, whose data is that of the golden image.
Bytes png_claiming(std::uint32_t width, std::uint32_t height) {
  Bytes bytes = read_golden("rgb.png");
  put_be32(bytes, 16, width);
  put_be32(bytes, 20, height);
  put_be32(bytes, 29, static_cast<std::uint32_t>(::crc32_z(0, &bytes[12], 17)));
  return bytes;
}

/// Every golden image that this build decodes.
std::vector<std::string> image_files() {
  std::vector<std::string> files;
  for (const auto& want : golden::values()["files"]) {
    const std::string file = want["file"];
#if !defined(LAMINA_HAS_WEBP)
    if (file.ends_with(".webp")) continue;
#endif
    files.push_back(file);
  }
  return files;
}

std::uint32_t next_random(std::uint32_t& state) { return state = state * 1664525u + 1013904223u; }

}  // namespace

TEST_CASE("Image: what is no image is refused") {
  check_refused({}, "empty");
  check_refused(text("{\"a\": 1}\n"), "none of JPEG");
  check_refused(text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 7031\n"), "git-lfs pointer");
  check_refused(text("BM"), "truncated");
  check_refused(text("GIF89a"), "truncated");
  check_refused(text("RIFF1234WEBPVP8 "), "truncated");
  check_refused(text("\xff\xd8\xff"), "truncated");
}

TEST_CASE("Image: sizes of zero and sizes too large to decode are refused before anything is allocated") {
  check_refused(png_claiming(0, 10), "at least 1");
  check_refused(png_claiming(100000, 100000), "at most");
  check_refused(png_claiming(0xffffffff, 0xffffffff), "at most");
  check_refused(png_claiming(13000, 13000), "truncated");  // allowed, but not from 7 KB
  Bytes jpeg = read_golden("baseline_420.jpg");
  const std::uint8_t start_of_frame[] = {0xff, 0xc0};
  const auto frame = std::search(jpeg.begin(), jpeg.end(), start_of_frame, start_of_frame + 2);
  REQUIRE(frame != jpeg.end());
  std::fill(frame + 5, frame + 9, 0xff);
  check_refused(jpeg, "at most");
  std::fill(frame + 5, frame + 9, 0x20);  // 8224 x 8224
  check_refused(jpeg, "truncated");
  std::fill(frame + 5, frame + 7, 0);
  check_refused(jpeg, "at least 1");
  Bytes gif = read_golden("grey.gif");
  std::fill(gif.begin() + 6, gif.begin() + 10, 0xff);
  check_refused(gif, "at most");
  Bytes bmp = read_golden("rgb.bmp");
  bmp[19] = 0x40;  // 16445 x 47
  check_refused(bmp, "truncated");
#if defined(LAMINA_HAS_WEBP)
  Bytes webp = read_golden("lossy.webp");
  webp[27] = 0x3f;  // width
  check_refused(webp, "WebP");
#endif
}

TEST_CASE("Image: the readers of headers and of pixels refuse the same lies") {
  const auto path = std::filesystem::temp_directory_path() / cat("lamina_bad_", ::getpid(), ".png");
  const Bytes bytes = png_claiming(100000, 100000);
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  for (const std::string& message :
       {golden::error_of([&] { read_image_size(path); }), golden::error_of([&] { load_image(path); })}) {
    CHECK(golden::contains(message, path.string()));
    CHECK(golden::contains(message, "at most"));
  }
  std::filesystem::remove(path);
  CHECK(golden::contains(golden::error_of([&] { read_image_size(path); }), "no such file"));
  CHECK(golden::contains(golden::error_of([&] { load_image(path); }), "no such file"));
  CHECK(golden::contains(golden::error_of([&] { load_image(path.parent_path()); }), "not a file"));
}

TEST_CASE("Image: a file cut off anywhere in its data is refused") {
  for (const std::string& file : image_files()) {
    const Bytes whole = read_golden(file);
    for (int percent : {0, 1, 5, 20, 50, 80, 95}) {
      const Bytes cut(whole.begin(), whole.begin() + std::ssize(whole) * percent / 100);
      // The first frame of an animation may end early in its file.
      if (file == "animated.gif" && percent > 20) continue;
      CAPTURE(file, percent);
      CHECK(golden::contains(golden::error_of([&] { decode_image(cut, "pic.bin"); }), "pic.bin"));
    }
  }
}

TEST_CASE("Image: a PNG with a flipped bit is refused by its checksum") {
  Bytes bytes = read_golden("rgba.png");
  bytes[bytes.size() / 2] ^= 4;
  check_refused(bytes, "damaged");
}

TEST_CASE("Image: damaged files give an image of the stated size or our error, and nothing else") {
  std::uint32_t state = 7;
  int decoded = 0, refused = 0;
  for (const std::string& file : image_files()) {
    const Bytes whole = read_golden(file);
    for (int round = 0; round < 60; ++round) {
      Bytes bytes = whole;
      const int flips = 1 + round % 8, range = round % 2 ? 64 : static_cast<int>(bytes.size());
      for (int i = 0; i < flips; ++i)
        bytes[next_random(state) / 256 % range] = static_cast<std::uint8_t>(next_random(state) >> 24);
      const std::string message = golden::error_of([&] {
        const Image image = decode_image(bytes, "pic.bin");
        REQUIRE(image.rgb.size() == static_cast<std::size_t>(image.width) * image.height * 3);
        ++decoded;
      });
      if (!message.empty()) {
        CHECK(golden::contains(message, "pic.bin"));
        ++refused;
      }
    }
  }
  CHECK(decoded > 100);
  CHECK(refused > 100);
}
