#pragma once
#include <lamina/text/tokenizer/unicode.hpp>

#include <string_view>

namespace lamina::text {

/// The pattern that cuts text into the pieces which BPE never joins: contractions, words with one sign or space before
/// them, single digits, signs with the line breaks after them, spaces.
inline constexpr std::string_view split_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
/// The classes of transformers whose files mean this pattern without naming it.
inline constexpr std::string_view split_pattern_classes[] = {"Qwen2Tokenizer", "Qwen2TokenizerFast"};

namespace detail {

/// A place in valid UTF-8 text with the code point that begins there; at the end, size is 0.
struct Cursor {
  std::string_view text;
  std::size_t at = 0;
  char32_t value = 0;
  std::size_t size = 0;
  CharClass kind = CharClass::other;

  Cursor(std::string_view whole, std::size_t begin) : text(whole), at(begin) { read(); }
  bool done() const { return size == 0; }
  bool is(CharClass wanted) const { return !done() && kind == wanted; }
  bool newline() const { return !done() && (value == '\r' || value == '\n'); }
  Cursor next() const { return Cursor(text, at + size); }
  void advance() { at += size, read(); }
  void skip(CharClass wanted) {
    while (is(wanted)) advance();
  }

 private:
  void read() {
    size = 0;
    if (at >= text.size()) return;
    const io::Utf8Step step = io::read_utf8(text, at);
    value = step.value, size = step.size, kind = class_of(value);
  }
};

/// (?i:'s|'t|'re|'ve|'m|'ll|'d) at an apostrophe: the bytes matched, 0 if none. Case folding makes U+017F an s.
inline std::size_t contraction_size(std::string_view text) {
  const auto lower = [&](std::size_t i) { return i < text.size() ? static_cast<char>(text[i] | 0x20) : '\0'; };
  const char a = lower(1), b = lower(2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if (text.substr(1, 2) == "\xc5\xbf") return 3;
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/// The last three branches, \s*[\r\n]+|\s+(?!\S)|\s+, at a space: where the match ends.
inline std::size_t end_of_spaces(Cursor cursor) {
  std::size_t after_newline = 0, last = cursor.at;
  const std::size_t begin = cursor.at;
  for (; cursor.is(CharClass::space); cursor.advance()) {
    last = cursor.at;
    if (cursor.newline()) after_newline = cursor.at + cursor.size;
  }
  if (after_newline) return after_newline;                   // up to the run's last line break
  return cursor.done() || last == begin ? cursor.at : last;  // the look-ahead leaves one space to the next piece
}

/// The end of the piece that begins at `cursor`, which is not at the end of the text.
inline std::size_t end_of_piece(Cursor cursor) {
  if (cursor.value == '\'') {
    const std::size_t size = contraction_size(cursor.text.substr(cursor.at));
    if (size) return cursor.at + size;
  }
  if (cursor.is(CharClass::number)) return cursor.next().at;
  if (cursor.is(CharClass::letter)) {
    cursor.skip(CharClass::letter);
    return cursor.at;
  }
  const Cursor second = cursor.next();
  if (!cursor.newline() && second.is(CharClass::letter)) {  // any one sign or space goes with the letters after it
    cursor = second;
    cursor.skip(CharClass::letter);
    return cursor.at;
  }
  if (cursor.is(CharClass::other) || (cursor.value == ' ' && second.is(CharClass::other))) {
    if (cursor.value == ' ') cursor = second;
    cursor.skip(CharClass::other);
    while (cursor.newline()) cursor.advance();
    return cursor.at;
  }
  return end_of_spaces(cursor);
}

}  // namespace detail

/// Calls piece(std::string_view) for each match of split_pattern, from left to right; together they are the whole text.
/// The text is valid UTF-8. Written by hand because the pattern looks ahead, which linear-time engines lack.
template <class Piece>
void pretokenize(std::string_view text, Piece&& piece) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = detail::end_of_piece(detail::Cursor(text, at));
    piece(text.substr(at, end - at));
    at = end;
  }
}

}  // namespace lamina::text
