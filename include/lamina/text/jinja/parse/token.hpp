#pragma once
#include <lamina/text/jinja/budget.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace lamina::text::jinja {

/// A word of a template.
struct Token {
  enum class Kind {
    data,             ///< text outside of tags, as it is written
    expression_begin, /* {{ */
    expression_end,
    block_begin, /* {% */
    block_end,
    name,
    string,  ///< without quotes and escapes
    integer,
    number,
    sign,  ///< an operator, a bracket, a comma
    end
  } kind;
  std::string text;
  int line;
  std::int64_t integer = 0;
  double number = 0;

  bool is(Kind wanted, std::string_view spelling) const { return kind == wanted && text == spelling; }
  bool is_name(std::string_view spelling) const { return is(Kind::name, spelling); }
  bool is_sign(std::string_view spelling) const { return is(Kind::sign, spelling); }
};

/// Throws TemplateError with the line's number.
template <class... Parts>
[[noreturn]] void fail_at(int line, const Parts&... parts) {
  throw TemplateError(cat("chat template line ", line, ": ", cat(parts...)));
}

}  // namespace lamina::text::jinja
