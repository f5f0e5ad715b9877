#pragma once
#include <lamina/model/qwen_vl/processor.hpp>
#include <lamina/vision/processor.hpp>
#include "support/catch.hpp"
#include "support/error_of.hpp"

#include <zlib.h>

#include <cstdlib>
#include <fstream>
#include <iostream>

namespace lamina::vision::golden {

inline std::filesystem::path folder() { return std::filesystem::path(LAMINA_GOLDEN_DIR) / "vision"; }

/// golden.json, as tests/reference/vision_golden.py wrote it.
inline const nlohmann::json& values() {
  static const nlohmann::json json = [] {
    std::ifstream in(folder() / "golden.json");
    return nlohmann::json::parse(in);
  }();
  return json;
}

template <class T>
std::uint32_t crc(const std::vector<T>& values) {
  return static_cast<std::uint32_t>(
      ::crc32_z(0, reinterpret_cast<const Bytef*>(values.data()), values.size() * sizeof(T)));
}

/// The same bytes as noise() of the script.
inline Image noise(int width, int height) {
  Image image{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * height * 3)};
  for (std::size_t i = 0; i < image.rgb.size(); ++i) {
    std::uint32_t v = static_cast<std::uint32_t>(i) * 2654435761u;
    v ^= v >> 15;
    v *= 2246822519u;
    v ^= v >> 13;
    image.rgb[i] = static_cast<std::uint8_t>(v >> 24);
  }
  return image;
}

/// The released checkpoints' settings.
inline Processor processor(const std::string& family) {
  Processor p{lamina::qwen_vl::processor};
  if (family == "qwen2_5_vl") p.max_pixels = 12845056;
  if (family == "qwen3_vl") {
    p.patch_size = 16;
    p.min_pixels = 65536;
    p.max_pixels = 16777216;
    p.mean = p.std = {0.5f, 0.5f, 0.5f};
  }
  return p;
}

/// Checks both families' patches of an image against transformers', to the last bit.
inline void check_patches(const Image& image, const nlohmann::json& expected) {
  for (const auto& [family, want] : expected.items()) {
    CAPTURE(family);
    std::vector<float> rows{-7};  // append must keep what is there
    const Grid grid = processor(family).append_patches(image, rows);
    CHECK(rows[0] == -7);
    rows.erase(rows.begin());
    REQUIRE(want["grid"] == nlohmann::json{grid.t, grid.h, grid.w});
    REQUIRE(rows.size() == grid.patches() * want["row_length"].get<std::size_t>());
    for (std::size_t i = 0; i < want["at"].size(); ++i)
      CHECK(rows[want["at"][i].get<std::size_t>()] == want["samples"][i].get<float>());
    CHECK(crc(rows) == want["crc"].get<std::uint32_t>());
  }
}

using testing::error_of, testing::contains;

/// The folder with larger inputs that are not part of the project, or nothing after a visible warning.
inline std::filesystem::path test_data() {
  const char* folder = std::getenv("LAMINA_TEST_DATA");
  if (!folder) std::cerr << "SKIPPED: LAMINA_TEST_DATA is not set\n";
  return folder ? folder : "";
}

}  // namespace lamina::vision::golden
