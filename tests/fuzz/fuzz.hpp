#pragma once
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>

/// Parsers of foreign input take any bytes: they return a value or throw one of the errors that they promise. Every
/// other exception ends the program, as a crash does.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fuzz {

inline std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Runs the parser; a refusal by lamina::Error or by Refusal is an answer too.
template <class Refusal = lamina::Error, class Parse>
int run(Parse&& parse) {
  try {
    try {
      parse();
    } catch (const Refusal&) {
    }
  } catch (const lamina::Error&) {
  }
  return 0;
}

/// A folder of this process that holds the input as a file, for parsers that open one.
inline const std::filesystem::path& folder_with(std::string_view name, std::string_view bytes) {
  static const struct Folder {
    std::filesystem::path path = std::filesystem::temp_directory_path() / ("lamina_fuzz_" + std::to_string(::getpid()));
    Folder() { std::filesystem::create_directories(path); }
    ~Folder() { std::filesystem::remove_all(path); }
  } folder;
  std::ofstream(folder.path / name, std::ios::binary | std::ios::trunc) << bytes;
  return folder.path;
}

}  // namespace fuzz
