#pragma once
#include <lamina/text/tokenizer/unicode.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace lamina::text {

/// White space as Python's str.isspace and re's \s have it.
inline bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/// The code points of UTF-8 text.
inline std::u32string code_points(std::string_view utf8) {
  std::u32string out;
  for (std::size_t at = 0; at < utf8.size();) {
    const io::Utf8Step step = io::read_utf8(utf8, at);
    out += step.value;
    at += static_cast<std::size_t>(step.size);
  }
  return out;
}

namespace detail {

inline bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
inline bool is_alphanumeric(char32_t c) { return is_digit(c) || (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z'); }
/// Characters other than ideographs that jieba keeps together with their neighbours: letters, digits and + # & . _ % -
inline bool joins(char32_t c) { return is_alphanumeric(c) || std::u32string_view(U"+#&._%-").find(c) < 7; }

/// Splits a run of such characters: a number or a word, with its decimals and per cent sign, and the signs between.
/// jieba's re_skip: [a-zA-Z0-9]+(\.\d+)?%?
inline void split_run(std::u32string_view run, std::vector<std::u32string>& words) {
  for (std::size_t at = 0; at < run.size();) {
    std::size_t end = at;
    if (!is_alphanumeric(run[at])) {
      while (end < run.size() && !is_alphanumeric(run[end])) ++end;
    } else {
      while (end < run.size() && is_alphanumeric(run[end])) ++end;
      if (end + 1 < run.size() && run[end] == U'.' && is_digit(run[end + 1]))
        for (++end; end < run.size() && is_digit(run[end]);) ++end;
      if (end < run.size() && run[end] == U'%') ++end;
    }
    words.emplace_back(run.substr(at, end - at));
    at = end;
  }
}

/// As split_run, after the five entries of jieba's dictionary that hold no ideograph: they are words wherever they
/// occur, inside others too.
inline void split_latin(std::u32string_view run, std::vector<std::u32string>& words) {
  static constexpr std::array<std::u32string_view, 5> entries = {U"AT&T", U"c#", U"C#", U"c++", U"C++"};
  std::size_t first = 0;
  for (std::size_t at = 0; at < run.size();) {
    const auto entry =
        std::find_if(entries.begin(), entries.end(), [&](auto word) { return run.substr(at).starts_with(word); });
    if (entry == entries.end()) {
      ++at;
      continue;
    }
    split_run(run.substr(first, at - first), words);
    words.emplace_back(*entry);
    first = at += entry->size();
  }
  split_run(run.substr(first), words);
}

}  // namespace detail

/// The words of a text, white space and punctuation among them, as jieba.cut returns them, but every ideograph is a
/// word of its own: text/jieba.hpp has a dictionary. Without ideographs the result is jieba's.
/// source  jieba 0.42, Tokenizer.cut and finalseg.cut
inline std::vector<std::u32string> cut_words(std::string_view utf8) {
  const std::u32string text = code_points(utf8);
  std::vector<std::u32string> words;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at + 1;
    if (detail::joins(text[at])) {
      while (end < text.size() && detail::joins(text[end])) ++end;
      detail::split_latin(std::u32string_view(text).substr(at, end - at), words);
    } else {
      if (text[at] == U'\r' && end < text.size() && text[end] == U'\n') ++end;
      words.push_back(text.substr(at, end - at));
    }
    at = end;
  }
  return words;
}

}  // namespace lamina::text
