#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/grammar/notation/code_points.hpp>
#include <lamina/text/tokenizer/unicode.hpp>

namespace lamina::grammar {

/// Reads a regular expression or EBNF by code points. What is wrong is a GrammarError that names the place.
class Reader {
 public:
  /// subject: what messages call the text
  Reader(std::string_view text, const char* subject, const GrammarLimits& limits)
      : text_(text), subject_(subject), limits_(limits) {
    if (text.size() > limits.text_bytes)
      refuse(subject, ": has ", text.size(), " bytes, wanted at most ", limits.text_bytes);
    if (!io::is_valid_utf8(text)) refuse(subject, ": is not UTF-8");
  }

  bool at_end() const { return at_ == text_.size(); }
  std::size_t at() const { return at_; }
  std::string_view rest() const { return text_.substr(at_); }
  bool sees(std::string_view word) const { return rest().starts_with(word); }
  bool take(std::string_view word) {
    if (!sees(word)) return false;
    at_ += word.size();
    return true;
  }
  void expect(std::string_view word) {
    if (!take(word)) wrong("wanted ", word);
  }
  char32_t next() {
    if (at_end()) wrong("ends too early");
    const io::Utf8Step step = io::read_utf8(text_, at_);
    at_ += static_cast<std::size_t>(step.size);
    return step.value;
  }
  /// A number of up to nine digits.
  std::uint32_t number() {
    std::uint32_t value = 0;
    const std::size_t begin = at_;
    for (; !at_end() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      if (at_ - begin == 9) wrong("a number has more than 9 digits");
      value = value * 10 + static_cast<std::uint32_t>(text_[at_] - '0');
    }
    if (at_ == begin) wrong("wanted a number");
    return value;
  }
  /// A character's number in `digits` hexadecimal ones.
  char32_t hex(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const char32_t c = next();
      const char32_t digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
      if (digit > 15) wrong("wanted ", digits, " hexadecimal digits");
      value = value << 4 | digit;
    }
    if (value > CodePoints::highest) wrong("is beyond the last character, U+10FFFF");
    return value;
  }
  /// {m}, {m,} and {m,n}, after the brace; {,n} too
  std::pair<std::uint32_t, std::uint32_t> bounds() {
    const std::uint32_t min = sees(",") ? 0 : number();
    std::uint32_t max = min;
    if (take(",")) max = sees("}") ? Grammar::unbounded : number();
    expect("}");
    if (min > max) wrong("a repetition of ", min, " to ", max, " times");
    return {min, max};
  }
  template <class... Parts>
  [[noreturn]] void wrong(const Parts&... parts) const {
    refuse(subject_, ": at byte ", at_, ": ", parts...);
  }

  /// Counts what is nested while it lives.
  class Level {
   public:
    explicit Level(Reader& reader) : reader_(reader) {
      if (++reader.level_ > reader.limits_.nesting)
        reader.wrong("is nested deeper than ", reader.limits_.nesting, " levels");
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --reader_.level_; }

   private:
    Reader& reader_;
  };
  int level() const { return level_; }

 private:
  std::string_view text_;
  const char* subject_;
  GrammarLimits limits_;
  std::size_t at_ = 0;
  int level_ = 0;
};

}  // namespace lamina::grammar
