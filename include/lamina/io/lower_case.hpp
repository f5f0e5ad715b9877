#pragma once
#include <algorithm>
#include <cctype>
#include <string>

namespace lamina::io {

/// A text with ASCII letters in lower case.
inline std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace lamina::io
