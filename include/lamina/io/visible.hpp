#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/io/utf8.hpp>

namespace lamina::io {

namespace detail {

/// Signs that move the cursor, end a line, or change the order or the presence of others: Unicode's Cc, Zl and Zp, and
/// the marks of direction and of zero width.
inline bool is_control(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

}  // namespace detail

/// A text that a terminal shows as it is: each byte of control characters, of marks of direction and of what is not
/// UTF-8 is written as \xNN. keep: control characters that stay.
inline std::string visible(std::string_view text, std::string_view keep = "") {
  static constexpr char hex[] = "0123456789abcdef";
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    const std::string_view bytes = text.substr(at, static_cast<std::size_t>(step.size));
    at += bytes.size();
    if (step.kind == Utf8Step::Kind::valid && (!detail::is_control(step.value) || keep.find(bytes[0]) != keep.npos)) {
      out += bytes;
      continue;
    }
    for (const unsigned char byte : bytes) out.append({'\\', 'x', hex[byte >> 4], hex[byte & 15]});
  }
  return out;
}

/// A name that a file or a command line holds, cut to a length that a message can show.
inline std::string foreign_name(std::string_view name) {
  constexpr std::size_t most = 100;
  return visible(name.substr(0, most)) + (name.size() > most ? "..." : "");
}

/// The first few of such names, and how many there are. names: not empty.
inline std::string foreign_names(const std::vector<std::string>& names) {
  constexpr std::size_t most = 8;
  std::string out;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) out += (i ? ", " : "") + foreign_name(names[i]);
  return names.size() > most ? out + ", ... (" + std::to_string(names.size()) + " in all)" : out;
}

}  // namespace lamina::io
