#pragma once
#include <lamina/core/error.hpp>
#include <lamina/io/utf8.hpp>
#include <lamina/text/tokenizer/unicode_tables.hpp>

#include <utf8proc.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::text {

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
  for (utf8proc_ssize_t i = 0; i < count; ++i) io::append_utf8(out, static_cast<char32_t>(parts[i]));
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
      io::append_utf8(out, static_cast<char32_t>(points[0]));
    } else if (!points.empty()) {
      detail::append_nfc(out, points);
    }
    points.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    const io::Utf8Step step = io::read_utf8(text, at);
    at += step.size;
    if (detail::begins_afresh(step.value)) {
      flush();
    } else if (within(marks_since_unicode_9, step.value)) {
      flush();
      io::append_utf8(out, step.value);
      continue;
    }
    points.push_back(static_cast<utf8proc_int32_t>(step.value));
  }
  flush();
  return out;
}

}  // namespace lamina::text
