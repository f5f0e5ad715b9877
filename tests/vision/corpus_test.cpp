#include "vision/golden.hpp"

using namespace lamina;
using namespace lamina::vision;

namespace {

std::filesystem::path corpus() { return std::filesystem::path(LAMINA_GOLDEN_DIR) / "images"; }

/// The corpus's files that this build decodes, with what Pillow says of each.
std::vector<std::pair<std::filesystem::path, nlohmann::json>> corpus_files() {
  std::ifstream in(corpus() / "golden.json");
  const auto values = nlohmann::json::parse(in);
  std::vector<std::pair<std::filesystem::path, nlohmann::json>> files;
  for (const auto& [name, want] : values.items()) {
#if !defined(LAMINA_HAS_WEBP)
    if (name.ends_with(".webp")) continue;
#endif
#if !defined(LAMINA_HAS_TIFF)
    if (name.ends_with(".tif")) continue;
#endif
    files.emplace_back(corpus() / name, want);
  }
  return files;
}

std::uint32_t on(Image image, Colour background) {
  put_on_background(image, background);
  CHECK((image.alpha.empty() && !image.grey && !image.indexed));
  return golden::crc(image.rgb);
}

}  // namespace

TEST_CASE("Image: what Pillow reads is read, to the same pixels, and what it refuses is refused") {
  int read = 0, refused = 0;
  for (const auto& [path, want] : corpus_files()) {
    CAPTURE(path.filename().string());
    if (want == "refused") {
      CHECK(golden::contains(golden::error_of([&] { load_image(path); }), path.string()));
      ++refused;
      continue;
    }
    const Image image = load_image(path);
    REQUIRE(image.size() == ImageSize{want["width"], want["height"]});
    CHECK(golden::crc(image.rgb) == want["rgb"].get<std::uint32_t>());
    const std::string mode = want["mode"];
    CHECK(image.alpha.empty() == (mode != "RGBA" && mode != "LA"));
    if (!image.alpha.empty()) CHECK(golden::crc(image.alpha) == want["alpha"].get<std::uint32_t>());
    CHECK(image.grey == (mode == "LA"));
    CHECK(image.indexed == (mode == "P" || mode == "1"));
    CHECK(on(image, {255, 255, 255}) == want["on_white"].get<std::uint32_t>());
    CHECK(on(image, {0, 160, 0}) == want["on_green"].get<std::uint32_t>());
    ++read;
  }
  CHECK(read > 50);
  CHECK(refused > 20);
}

TEST_CASE("read_image_header: size, alpha and orientation, from memory and from a file") {
  for (const auto& [path, want] : corpus_files()) {
    if (want == "refused") continue;
    CAPTURE(path.filename().string());
    ImageFile file(path);
    const ImageHeader header = read_image_header(file), same = read_image_header(file.read_all(), "memory");
    CHECK((header.size == ImageSize{want["width"], want["height"]} && same.size == header.size));
    CHECK(header.orientation == want["orientation"].get<int>());
    CHECK(header.has_alpha == (want["mode"] == "RGBA" || want["mode"] == "LA"));
    CHECK(header.working_bytes >= static_cast<std::uint64_t>(header.size.pixels()) * (*header.has_alpha ? 4 : 3));
    CHECK(same.working_bytes == header.working_bytes);
    if (path.filename() == "animated.webp") CHECK(header.frames == 2);
    if (path.filename() == "plain.png") CHECK(header.frames == 1);
  }
}

TEST_CASE("Image: a JPEG library of another version than the headers' is named, not called a broken file") {
  ImageFile file(corpus() / "plain.jpg");
  const auto bytes = file.read_all();
  const DecodeLimits limits;
  vision::detail::DecodeTask task("pic.jpg", limits);
  const auto header = read_image_header(bytes, "pic.jpg");
  const std::string message = golden::error_of([&] { vision::detail::decode_jpeg(bytes, header, task, 90); });
  CAPTURE(message);
  CHECK(golden::contains(message, "another JPEG library"));
  CHECK(golden::contains(message, "90"));
  CHECK(!golden::contains(message, "broken"));
}
