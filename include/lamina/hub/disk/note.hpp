#pragma once
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/io/file.hpp>

namespace lamina::hub::detail {

/// The lines of a small note on a file or a folder, by a client of a hub or by us; none if there is no such file, or
/// none that can be read.
inline std::vector<std::string> note_lines(const std::filesystem::path& path) {
  constexpr std::uint64_t most_bytes = 1 << 16;
  std::vector<std::string> lines;
  try {
    std::istringstream in(io::read_text(path, most_bytes));
    for (std::string line; std::getline(in, line);) lines.push_back(line);
  } catch (const Error&) {
    lines.clear();
  }
  return lines;
}

}  // namespace lamina::hub::detail
