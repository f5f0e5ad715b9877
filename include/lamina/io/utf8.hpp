#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

/// UTF-8, read and written one code point at a time.
namespace lamina::io {

/// One step through UTF-8 text.
struct Utf8Step {
  enum class Kind {
    valid,    ///< `size` bytes are the code point `value`
    invalid,  ///< `size` bytes cannot begin any code point: one U+FFFD replaces them
    cut       ///< the text ends inside a code point whose `size` bytes are right so far
  } kind;
  char32_t value;
  int size;
};

/// Reads the code point at `text[at]`, at < text.size(). What is not UTF-8 (stray or overlong bytes, surrogates, above
/// U+10FFFF) is `invalid` in the pieces that Unicode recommends ("maximal subparts", The Unicode Standard 3.9), which
/// are Rust's and Python's too.
inline Utf8Step read_utf8(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  if (lead < 0x80) return {Utf8Step::Kind::valid, lead, 1};
  if (lead < 0xc2 || lead > 0xf4) return {Utf8Step::Kind::invalid, 0xfffd, 1};
  const int size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte's range shuts out overlong forms, surrogates and numbers above U+10FFFF.
  unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  char32_t value = lead & (0x7f >> size);
  for (int i = 1; i < size; ++i) {
    if (at + i >= text.size()) return {Utf8Step::Kind::cut, 0xfffd, i};
    const unsigned next = byte(at + i);
    if (next < low || next > high) return {Utf8Step::Kind::invalid, 0xfffd, i};
    value = value << 6 | (next & 0x3f);
    low = 0x80, high = 0xbf;
  }
  return {Utf8Step::Kind::valid, value, size};
}

/// Appends the code point `c` (a Unicode scalar value) as UTF-8.
inline void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

/// Is every byte below 0x80?
inline bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

/// Is the whole text valid UTF-8?
inline bool is_valid_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    if (step.kind != Utf8Step::Kind::valid) return false;
    at += step.size;
  }
  return true;
}

/// The text with every ill-formed part replaced by U+FFFD, as Rust's from_utf8_lossy and Python's errors="replace" do.
inline std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    append_utf8(out, step.value);
    at += step.size;
  }
  return out;
}

}  // namespace lamina::io
