#pragma once
#include <lamina/core/error.hpp>
#include <lamina/text/tokenizer/unicode_tables.hpp>

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::text {

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

/// The classes that the pre-tokenizer tells apart: \p{L}, \p{N}, \s and the rest.
enum class CharClass : std::uint8_t { letter, number, space, other };

/// The class of a code point, as the regex engine of the `tokenizers` library (Unicode 16.0) sees it.
inline CharClass class_of(char32_t c) {
  if (c < 0x80) {
    if ((c | 0x20) - 'a' < 26u) return CharClass::letter;
    if (c - '0' < 10u) return CharClass::number;
    return c == ' ' || c - '\t' < 5u ? CharClass::space : CharClass::other;
  }
  if (c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
      c == 0x202f || c == 0x205f || c == 0x3000) {
    return CharClass::space;
  }
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) return CharClass::letter;
  if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return CharClass::number;
  if (category != UTF8PROC_CATEGORY_CN) return CharClass::other;
  if (within(letters_since_unicode_15, c)) return CharClass::letter;
  return within(numbers_since_unicode_15, c) ? CharClass::number : CharClass::other;
}

namespace detail {

/// Appends the NFC of `points`, which hold no code point of marks_since_unicode_9.
inline void append_nfc(std::string& out, const std::vector<utf8proc_int32_t>& points) {
  std::vector<utf8proc_int32_t> parts;
  parts.reserve(points.size() * 2);
  for (const utf8proc_int32_t c : points) {
    utf8proc_int32_t expanded[32];  // the longest full decomposition has 4 code points, 18 in compatibility forms
    int boundary_class = 0;
    const auto count = utf8proc_decompose_char(c, expanded, 32, UTF8PROC_DECOMPOSE, &boundary_class);
    if (count < 0 || count > 32) fail("NFC: cannot decompose code point ", c, ": ", utf8proc_errmsg(count));
    parts.insert(parts.end(), expanded, expanded + count);
  }
  // utf8proc's own ordering step takes time quadratic in a run of marks, which a hostile text can make long.
  const auto mark = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  for (auto begin = parts.begin(); begin != parts.end();) {
    const auto end = std::find_if(begin, parts.end(), [&](auto c) { return mark(c) == 0; });
    std::stable_sort(begin, end, [&](auto a, auto b) { return mark(a) < mark(b); });
    begin = end == parts.end() ? end : end + 1;
  }
  const auto count = utf8proc_normalize_utf32(parts.data(), static_cast<utf8proc_ssize_t>(parts.size()),
                                              static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (count < 0) fail("NFC: cannot compose: ", utf8proc_errmsg(count));
  for (utf8proc_ssize_t i = 0; i < count; ++i) append_utf8(out, static_cast<char32_t>(parts[i]));
}

/// Neither changes under NFC nor takes part in a change: the text on its two sides can be normalised apart, but for
/// the marks that follow it. Below U+0300 no code point combines with the one before it.
inline bool begins_afresh(char32_t c) { return c < 0x300 || (c >= 0x4e00 && c <= 0x9fff); }

}  // namespace detail

/// Normalisation form C of valid UTF-8, with the marks of Unicode 9.0, as the `tokenizers` library has it.
inline std::string nfc(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> points;
  const auto flush = [&] {
    if (points.size() == 1 && detail::begins_afresh(static_cast<char32_t>(points[0]))) {
      append_utf8(out, static_cast<char32_t>(points[0]));
    } else if (!points.empty()) {
      detail::append_nfc(out, points);
    }
    points.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    at += step.size;
    if (detail::begins_afresh(step.value)) {
      flush();
    } else if (within(marks_since_unicode_9, step.value)) {
      flush();
      append_utf8(out, step.value);
      continue;
    }
    points.push_back(static_cast<utf8proc_int32_t>(step.value));
  }
  flush();
  return out;
}

}  // namespace lamina::text
