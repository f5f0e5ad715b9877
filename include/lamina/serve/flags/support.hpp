#pragma once
#include <algorithm>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/io/keys/key.hpp>

namespace lamina::serve {

/// What becomes of an option or a request's field of vLLM, in words, for --help.
inline std::string support_text(const io::KeyRow& row) {
  if (row.status == io::KeyStatus::honoured) return std::string(row.note);
  if (row.status == io::KeyStatus::accepted) return cat("accepted, without effect: ", row.note);
  std::string except(row.type == io::KeyType::flag ? "" : row.inert);
  for (std::size_t at = 0; (at = except.find('|', at)) != std::string::npos; at += 4) except.replace(at, 1, " or ");
  return cat("refused", except.empty() ? "" : ", except ", except, ": ", row.note);
}

/// One line of --help; empty if it does not hold `word`.
inline std::string help_line(std::string name, const std::string& text, std::string_view word) {
  name.resize(std::max<std::size_t>(name.size() + 1, 38), ' ');
  const std::string line = "  " + name + text;
  return line.find(word) == std::string::npos ? "" : line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

}  // namespace lamina::serve
