#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/io/visible.hpp>

/// What is wrong with a text that is no JSON, in words that do not need the parser's source to be understood.
namespace lamina::io {

/// A text that is not JSON.
struct JsonError : Error {
  using Error::Error;
};

namespace detail {

/// Throws. read: how many bytes were read when the mistake was seen, the wrong one included.
[[noreturn]] inline void fail_json(std::string_view subject, std::string_view text, std::size_t read,
                                   std::string_view mistake) {
  const std::string_view before = text.substr(0, read == 0 ? 0 : std::min(read, text.size() + 1) - 1);
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
  throw JsonError(cat(subject, ": not valid JSON: line ", line, ", column ", column, ": ", mistake));
}

/// A byte of a text, as a message shows it; what begins there may be longer.
inline std::string shown_byte(std::string_view text, std::size_t at) {
  if (at >= text.size()) return "the text ends";
  return static_cast<unsigned char>(text[at]) < 0x80 ? cat("found ", visible(text.substr(at, 1)))
                                                     : "found a letter beyond ASCII";
}

/// What nlohmann's parser calls a kind of token, as people call it.
inline std::string token_words(std::string_view name) {
  if (name == "end of input") return "the end of the text";
  if (name == "string literal") return "a text in quotes";
  if (name == "number literal") return "a number";
  if (name == "'[', '{', or a literal") return "a value";
  if (name.ends_with(" literal")) return std::string(name.substr(0, name.size() - 8));  // true, false, null
  return name.size() == 3 && name[0] == '\'' ? std::string(1, name[1]) : std::string(name);
}

/// The message of one of nlohmann's parse errors, in our words; what an unknown version says passes through. Messages:
/// "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error while parsing object key -
/// unexpected ','; expected string literal", or "- invalid literal; last read: 'nul}'". 406 is a number too large.
inline std::string json_mistake(std::string_view text, std::size_t read, int id, std::string_view what) {
  if (id == 406) return "the number is too large, wanted one up to 1.8e308";
  const std::size_t dash = what.find(" - ");
  if (dash == what.npos) return std::string(what);
  what.remove_prefix(dash + 3);
  constexpr std::string_view unexpected = "unexpected ", expected = "; expected ", of_string = "invalid string: ";
  if (what.starts_with(unexpected)) {
    const std::size_t semicolon = std::min(what.find(expected), what.size());
    const std::string found = token_words(what.substr(unexpected.size(), semicolon - unexpected.size()));
    const std::string_view next = what.substr(std::min(semicolon + expected.size(), what.size()));
    const std::string wanted = next == "'}'" || next == "']'" ? cat("a comma or ", next[1])
                               : next == "end of input"       ? "nothing after the value"
                               : next.empty()                 ? "something else"
                                                              : token_words(next);
    return cat(read > text.size() || found == "the end of the text" ? "the text ends" : "found " + found, ", wanted ",
               wanted);
  }
  if (what.starts_with("invalid literal"))
    return cat(shown_byte(text, read - 1), ", wanted a value, or a text in double quotes");
  if (what.starts_with(of_string)) what.remove_prefix(of_string.size());
  if (what.starts_with("missing closing quote")) return "the text ends, wanted a closing quote";
  return std::string(what.substr(0, what.find("; last read")));
}

}  // namespace detail

}  // namespace lamina::io
