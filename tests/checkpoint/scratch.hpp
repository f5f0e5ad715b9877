#pragma once
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>

/// A folder of a test's own, removed when the test is done.
class Scratch {
 public:
  Scratch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lamina-test-XXXXXX").string();
    dir_ = ::mkdtemp(pattern.data());
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
  }
  Scratch(const Scratch&) = delete;
  const std::filesystem::path& dir() const { return dir_; }
  std::filesystem::path operator/(std::string_view name) const { return dir_ / name; }

 private:
  std::filesystem::path dir_;
};

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}
inline void spill(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}
inline std::filesystem::path golden(std::string_view name) {
  return std::filesystem::path(LAMINA_GOLDEN_DIR) / "checkpoint" / name;
}

/// The message of the lamina::Error that f throws, or "" where it throws none.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const lamina::Error& e) {
    return e.what();
  }
  return "";
}
inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }
