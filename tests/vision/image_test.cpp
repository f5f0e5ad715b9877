#include <lamina/model/qwen_vl/processor.hpp>
#include "vision/golden.hpp"

using namespace lamina;
using namespace lamina::vision;

namespace {

/// Whether this build decodes the format: WebP needs libwebp.
bool is_decoded(const std::string& file) {
  bool decoded = true;
#if !defined(LAMINA_HAS_WEBP)
  decoded = decoded && !file.ends_with(".webp");
#endif
  if (!decoded) std::cerr << "SKIPPED: " << file << ", this build lacks its library\n";
  return decoded;
}

/// Decoding, stage A and patches of one image against Pillow, LLaMA-Factory and transformers.
void check_image(const std::filesystem::path& path, const nlohmann::json& want) {
  CAPTURE(path.string(), want["mode"].get<std::string>());
  const Image image = load_image(path);
  REQUIRE(image.width == want["width"]);
  REQUIRE(image.height == want["height"]);
  CHECK(read_image_size(path) == image.size());
  const std::size_t step = std::max<std::size_t>(1, image.rgb.size() / 24);
  for (std::size_t i = 0; i < want["samples"].size(); ++i) {
    CAPTURE(i);
    CHECK(int{image.rgb[i * step]} == want["samples"][i]);
  }
  CHECK(golden::crc(image.rgb) == want["crc"].get<std::uint32_t>());
  // Known: Pillow resizes CMYK and 16-bit grey before it converts them, we after.
  const bool converted_first = want["mode"] == "CMYK" || want["mode"] == "I;16";
  for (const auto& limit : want["limited"]) {
    const std::int64_t low = limit["min_pixels"], high = limit["max_pixels"];
    CAPTURE(low, high);
    const Image done = limit_pixels(image, low, high, lamina::qwen_vl::processor.shape);
    CHECK(nlohmann::json{done.width, done.height} == nlohmann::json{limit["width"], limit["height"]});
    CHECK(done.size() == limited_size(image.size(), low, high, lamina::qwen_vl::processor.shape));
    CHECK((done.alpha.empty() && !done.indexed));
    if (!converted_first) CHECK(golden::crc(done.rgb) == limit["crc"].get<std::uint32_t>());
    if (!limit["patches"].is_null()) golden::check_patches(done, limit["patches"]);
  }
}

}  // namespace

TEST_CASE("Image: pixels, limited pixels and patches of every format equal Pillow's, LLaMA-Factory's, transformers'") {
  REQUIRE(golden::values()["files"].size() == 29);
  for (const auto& want : golden::values()["files"]) {
    const std::string file = want["file"];
    if (is_decoded(file)) check_image(golden::folder() / file, want);
  }
}

TEST_CASE("Image: LLaMA-Factory's demo images give Pillow's pixels and transformers' patches") {
  const auto data = golden::test_data();
  if (data.empty()) return;
  REQUIRE(golden::values()["demo"].size() == 3);
  for (const auto& want : golden::values()["demo"])
    if (is_decoded(want["file"]))
      check_image(data / "llamafactory/data/mllm_demo_data" / want["file"].get<std::string>(), want);
}

TEST_CASE("limited_size: the table of LLaMA-Factory's sizes") {
  struct Row {
    std::int64_t limit;
    ImageSize in, out;
  };
  constexpr std::int64_t any = 589824;
  const Row rows[] = {
      {any, {300, 168}, {300, 168}},      {any, {300, 199}, {300, 199}},      {any, {300, 166}, {300, 166}},
      {any, {64, 64}, {64, 64}},          {any, {20, 20}, {32, 32}},          {any, {100, 30}, {100, 30}},
      {any, {29, 300}, {29, 300}},        {any, {1000, 4}, {1000, 28}},       {any, {6000, 20}, {5040, 28}},
      {any, {8000, 30}, {5400, 30}},      {262144, {1920, 1080}, {682, 384}}, {262144, {1080, 1920}, {384, 682}},
      {262144, {4000, 3000}, {591, 443}}, {262144, {640, 480}, {591, 443}},   {262144, {1024, 768}, {591, 443}},
      {262144, {512, 512}, {512, 512}},   {262144, {768, 768}, {512, 512}},   {589824, {1920, 1080}, {1024, 576}},
      {589824, {4000, 3000}, {886, 665}}, {589824, {1024, 768}, {886, 665}},  {589824, {640, 480}, {640, 480}},
      {589824, {768, 768}, {768, 768}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.limit, row.in.width, row.in.height);
    CHECK(limited_size(row.in, 1024, row.limit, lamina::qwen_vl::processor.shape) == row.out);
  }
}

TEST_CASE("limited_size: a side that vanishes is an error, not an empty image") {
  CHECK_THROWS_AS(limited_size({100000, 1}, 1, 1000, lamina::qwen_vl::processor.shape), Error);
}
