#pragma once
#include <lamina/core/error.hpp>
#include <lamina/text/jinja/parse/token.hpp>
#include <lamina/text/tokenizer/unicode.hpp>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text::jinja {
namespace detail {

/// What Jinja makes of a template's line ends: CR and CRLF become LF, one line end at the end of the text is dropped.
inline std::string with_jinja_line_ends(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
    out += text[i] == '\r' ? '\n' : text[i];
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

inline bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f); }
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_name_byte(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

/// Cuts a template into tokens, with trim_blocks and lstrip_blocks as transformers sets them: the line end behind a
/// block tag and the blanks before it on its line are not text.
/// source  jinja2 3.1, Lexer
class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_jinja_line_ends(source)) {}

  std::vector<Token> read() {
    while (at_ < source_.size()) text_until_tag();
    add(Token::Kind::end, "");
    return std::move(out_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool at(std::string_view word) const { return rest().starts_with(word); }

  void move(std::size_t bytes) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at_ + bytes), '\n'));
    at_ += bytes;
    line_begins_ = bytes > 0 && source_[at_ - 1] == '\n';
  }
  void skip_spaces() {
    std::size_t end = at_;
    while (end < source_.size() && is_space(source_[end])) ++end;
    if (end > at_) move(end - at_);
  }
  void add(Token::Kind kind, std::string text) { out_.push_back({kind, std::move(text), line_}); }

  /// Text up to the next tag, and that tag.
  void text_until_tag() {
    std::size_t tag = at_;
    do {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        add(Token::Kind::data, std::string(rest()));
        return move(source_.size() - at_);
      }
    } while (std::string_view("{%#").find(source_[tag + 1]) == std::string_view::npos && ++tag);
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
    add_data(rest().substr(0, tag - at_), sign, kind == '{');
    move(tag - at_);
    const bool signed_tag = sign == '-' || sign == '+';
    if (kind == '%' && raw_block(2 + signed_tag)) return;
    move(2 + signed_tag);
    if (kind == '#') return comment();
    add(kind == '{' ? Token::Kind::expression_begin : Token::Kind::block_begin, "");
    tag_words(kind == '{');
  }

  /// Text before a tag with this sign.
  void add_data(std::string_view text, char sign, bool before_expression) {
    if (sign == '-') {
      while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    } else if (sign != '+' && !before_expression) {
      const std::size_t line = text.rfind('\n') + 1;
      if ((line > 0 || line_begins_) &&
          std::all_of(text.begin() + static_cast<std::ptrdiff_t>(line), text.end(), is_space))
        text = text.substr(0, line);
    }
    if (!text.empty()) add(Token::Kind::data, std::string(text));
  }

  /// After "%}" or "#}" of a tag with this sign.
  void after_block(char sign) {
    if (sign == '-')
      skip_spaces();
    else if (sign != '+' && at("\n"))
      move(1);
  }

  void comment() {
    const int line = line_;
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail_at(line, "{# has no end #}");
    const char sign = end > at_ ? source_[end - 1] : ' ';
    move(end + 2 - at_);
    after_block(sign);
  }

  /// {% raw %} ... {% endraw %}, if one begins here; `open` is the length of "{%" with its sign.
  bool raw_block(std::size_t open) {
    const auto word_at = [&](std::size_t from, std::string_view word) {
      while (from < source_.size() && is_space(source_[from])) ++from;
      if (!std::string_view(source_).substr(from).starts_with(word)) return std::string::npos;
      for (from += word.size(); from < source_.size() && is_space(source_[from]);) ++from;
      return from;
    };
    std::size_t end = word_at(at_ + open, "raw");
    if (end == std::string::npos) return false;
    const bool strip = source_[end] == '-';
    if (!std::string_view(source_).substr(end + strip).starts_with("%}")) return false;
    const int line = line_;
    move(end + strip + 2 - at_);
    if (strip) skip_spaces();
    for (std::size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 1)) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : ' ';
      end = word_at(tag + 2 + (sign == '-' || sign == '+'), "endraw");
      if (end == std::string::npos || end >= source_.size()) continue;
      const char end_sign = source_[end];
      const std::size_t close = end + (end_sign == '-' || end_sign == '+');
      if (!std::string_view(source_).substr(close).starts_with("%}")) continue;
      add_data(rest().substr(0, tag - at_), sign, false);
      move(close + 2 - at_);
      after_block(end_sign);
      return true;
    }
    fail_at(line, "{% raw %} has no {% endraw %}");
  }

  /// The words between {{ and }}, or {% and %}.
  void tag_words(bool expression) {
    const int line = line_;
    const std::string_view close = expression ? "}}" : "%}";
    std::string brackets;
    for (;;) {
      skip_spaces();
      if (at_ >= source_.size()) fail_at(line, "this tag has no end ", close);
      const char sign = source_[at_];
      const bool signed_end = (sign == '-' || (sign == '+' && !expression)) && rest().substr(1).starts_with(close);
      if (brackets.empty() && (signed_end || at(close))) {
        add(expression ? Token::Kind::expression_end : Token::Kind::block_end, "");
        move(signed_end + 2);
        if (!expression || sign == '-') after_block(sign);
        return;
      }
      word(brackets);
    }
  }

  void word(std::string& brackets) {
    const char c = source_[at_];
    if (is_digit(c)) return number();
    if (is_name_byte(c)) {
      std::size_t size = 1;
      while (at_ + size < source_.size() && is_name_byte(source_[at_ + size])) ++size;
      add(Token::Kind::name, std::string(rest().substr(0, size)));
      return move(size);
    }
    if (c == '\'' || c == '"') return string(c);
    for (const std::string_view sign : {"//", "**", "==", "!=", ">=", "<="}) {
      if (!at(sign)) continue;
      add(Token::Kind::sign, std::string(sign));
      return move(2);
    }
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
      fail_at(line_, "unexpected character \"",
              std::string_view(source_).substr(at_, static_cast<std::size_t>(io::read_utf8(source_, at_).size)), "\"");
    balance(brackets, c);
    add(Token::Kind::sign, std::string(1, c));
    move(1);
  }
  void balance(std::string& brackets, char c) const {
    static constexpr std::string_view open = "([{", closed = ")]}";
    if (const auto found = open.find(c); found != open.npos) brackets += closed[found];
    if (closed.find(c) == closed.npos) return;
    if (brackets.empty() || brackets.back() != c) fail_at(line_, "unexpected \"", std::string(1, c), "\"");
    brackets.pop_back();
  }

  /// Digits, perhaps with "_" between them.
  static std::size_t digits(std::string_view text) {
    std::size_t size = 0;
    while (size < text.size() && (is_digit(text[size]) || (text[size] == '_' && size > 0 && size + 1 < text.size() &&
                                                           is_digit(text[size + 1]))))
      ++size;
    return size;
  }
  void number() {
    std::string_view text = rest();
    const std::size_t whole = digits(text);
    std::size_t size = whole;
    if (text.substr(size).starts_with('.') && digits(text.substr(size + 1)) > 0)
      size += 1 + digits(text.substr(size + 1));
    if (const auto mark = text.substr(size); mark.starts_with('e') || mark.starts_with('E')) {
      const bool sign = mark.substr(1).starts_with('+') || mark.substr(1).starts_with('-');
      if (const std::size_t exponent = digits(mark.substr(1 + sign)); exponent > 0) size += 1 + sign + exponent;
    }
    text = text.substr(0, size);
    std::string plain(text);
    std::erase(plain, '_');
    add(size == whole ? Token::Kind::integer : Token::Kind::number, plain);
    Token& token = out_.back();
    const auto last = plain.data() + plain.size();
    const auto read = size == whole ? std::from_chars(plain.data(), last, token.integer)
                                    : std::from_chars(plain.data(), last, token.number);
    const bool padded = size == whole && plain.size() > 1 && plain[0] == '0' && token.integer != 0;
    if (read.ec != std::errc() || padded || (size < rest().size() && is_name_byte(rest()[size])))
      fail_at(line_, "the number ", rest().substr(0, size + 1), " cannot be read: integers are decimal and below 2^63");
    move(size);
  }

  void string(char quote) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail_at(line_, "a string has no end ", std::string(1, quote));
    add(Token::Kind::string, unescaped(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    move(end + 1 - at_);
  }
  /// Python's escapes; a backslash before anything else stays.
  std::string unescaped(std::string_view text) const {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\') {
        out += text[i];
        continue;
      }
      static constexpr std::string_view letters = "nrtabfv\\'\"\n", meaning = "\n\r\t\a\b\f\v\\'\"";
      const char c = text[++i];
      if (const auto known = letters.find(c); known != letters.npos)
        out += meaning.substr(known, 1);  // nothing for a line end
      else if (const int width = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0)
        append_code_point(out, text.substr(i + 1, static_cast<std::size_t>(width)), 16, width),
            i += static_cast<std::size_t>(width);
      else if (c >= '0' && c <= '7')
        i += append_octal(out, text.substr(i, 3)) - 1;
      else if (c == 'N')
        fail_at(line_, "the escape \\N in a string is not supported: write the character");
      else
        out += '\\', out += c;
    }
    return out;
  }
  std::size_t append_octal(std::string& out, std::string_view text) const {
    const std::size_t size = std::min(text.find_first_not_of("01234567"), text.size());
    append_code_point(out, text.substr(0, size), 8, static_cast<int>(size));
    return size;
  }
  void append_code_point(std::string& out, std::string_view digits, int base, int width) const {
    std::uint32_t value = 0;
    const auto end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, value, base);
    if (read.ec != std::errc() || read.ptr != end || digits.size() != static_cast<std::size_t>(width) ||
        value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
      fail_at(line_, "an escape in a string is no character: ", digits);
    io::append_utf8(out, value);
  }

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_begins_ = true;
  std::vector<Token> out_;
};

}  // namespace detail

/// The tokens of a template, the last of kind end. TemplateError with the line's number.
inline std::vector<Token> tokenize(std::string_view source) { return detail::Lexer(source).read(); }

}  // namespace lamina::text::jinja
