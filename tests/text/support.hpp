#pragma once
#include <nlohmann/json.hpp>
#include "support/catch.hpp"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

namespace test_text {

inline std::filesystem::path golden(std::string_view name) {
  return std::filesystem::path(LAMINA_GOLDEN_DIR) / "text" / name;
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  REQUIRE(in);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

inline nlohmann::ordered_json read_json(std::string_view name) {
  return nlohmann::ordered_json::parse(read_file(golden(name)));
}

/// The folder of the real Qwen3 tokenizer; empty, with a warning that shows, if LAMINA_TEST_DATA is not set.
inline std::filesystem::path qwen3_tokenizer() {
  const char* data = std::getenv("LAMINA_TEST_DATA");
  if (data) return std::filesystem::path(data) / "qwen3-tokenizer";
  WARN("SKIPPED: set LAMINA_TEST_DATA to a folder that holds qwen3-tokenizer/tokenizer.json");
  return {};
}

/// 32-bit FNV-1a, as tests/reference/text_golden.py computes it.
inline std::uint32_t fnv(std::string_view bytes) {
  std::uint32_t value = 0x811c9dc5;
  for (const char c : bytes) value = (value ^ static_cast<unsigned char>(c)) * 0x01000193u;
  return value;
}

inline std::uint32_t hash_ids(std::span<const int> ids) {
  std::string bytes;
  for (const int id : ids) {
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(id >> shift & 255);
  }
  return fnv(bytes);
}

/// A folder that goes when the test ends.
struct TemporaryFolder {
  std::filesystem::path path;
  explicit TemporaryFolder(const std::string& name)
      : path(std::filesystem::temp_directory_path() / ("lamina_" + name + "_" + std::to_string(::getpid()))) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  void write(const std::string& name, std::string_view text) const {
    std::ofstream(path / name, std::ios::binary) << text;
  }
};

}  // namespace test_text
