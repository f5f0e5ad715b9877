#pragma once
#include <fmt/format.h>
#include <lamina/text/jinja/builtins/arguments.hpp>
#include <lamina/text/jinja/builtins/text_functions.hpp>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

/// Filters of texts and numbers.
/// source  jinja2 3.1, filters.py; tojson as transformers replaces it
namespace lamina::text::jinja::detail {

struct Filter {
  std::string_view name;
  Value (*call)(const Value&, const CallArguments&, Budget&);
};

inline Value tojson(const Value& value, const CallArguments& args, Budget& budget) {
  const BoundArguments given("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  if (value.is_undefined()) fail_undefined(value);
  JsonStyle style{.ensure_ascii = given.boolean(0, false), .sort_keys = given.boolean(3, false)};
  if (given.has(1) && !given[1]->is_none()) {
    const auto* text = given[1]->text();
    const std::int64_t width = text ? 0 : given.integer(1, 0);
    if (width > 1000) fail("tojson: indent is ", width, ", wanted at most 1000");
    style.indent = text ? text->bytes() : std::string(static_cast<std::size_t>(std::max(width, std::int64_t{0})), ' ');
    style.between_items = ",";
  }
  if (given.has(2) && !given[2]->is_none()) {
    const auto* pair = given[2]->sequence();
    if (!pair || pair->items.size() != 2 || !pair->items[0].text() || !pair->items[1].text())
      fail("tojson: separators wants two strings");
    style.between_items = pair->items[0].text()->bytes();
    style.between_key_and_value = pair->items[1].text()->bytes();
  }
  return to_json(value, style, budget);
}

/// A number that a text spells in Python; digits may have "_" between them.
inline std::optional<std::int64_t> spelt_integer(std::string text, int base) {
  std::erase(text, '_');
  std::string_view digits = text;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  std::int64_t out = 0;
  const auto end = digits.data() + digits.size();
  if (digits.starts_with('-')) return {};
  const auto read = std::from_chars(digits.data(), end, out, base);
  if (read.ec != std::errc() || read.ptr != end) return {};
  return negative ? -out : out;
}
inline std::optional<double> spelt_number(std::string text) {
  std::erase(text, '_');
  if (text.empty() || text.find_first_not_of("0123456789+-.eEinfatyINFATY") != text.npos) return {};
  char* end = nullptr;
  const double out = std::strtod(text.c_str(), &end);
  return end == text.c_str() + text.size() ? std::optional(out) : std::nullopt;
}

inline Value to_int(const Value& value, const CallArguments& args, Budget& budget) {
  const BoundArguments given("int", args, {"default", "base"});
  const Value otherwise = given[0].value_or(0);
  if (value.is_undefined()) fail_undefined(value);
  if (const auto whole = value.integer()) return *whole;
  std::optional<double> number = value.number();
  if (const auto* text = value.text()) {
    const std::string plain = stripped(*text, {}, Side::both, budget).bytes();
    const std::int64_t base = given.integer(1, 10);
    if (base < 2 || base > 36) fail("int: base is ", base, ", wanted 2 to 36");
    if (const auto whole = spelt_integer(plain, static_cast<int>(base))) return *whole;
    number = spelt_number(plain);
  }
  if (!number || !std::isfinite(*number)) return otherwise;
  if (std::abs(*number) >= 9.2e18) fail_overflow();
  return static_cast<std::int64_t>(*number);
}
inline Value to_float(const Value& value, const CallArguments& args, Budget& budget) {
  const Value otherwise = BoundArguments("float", args, {"default"})[0].value_or(0.0);
  if (value.is_undefined()) fail_undefined(value);
  const auto* text = value.text();
  const auto number = text ? spelt_number(stripped(*text, {}, Side::both, budget).bytes()) : value.number();
  return number ? Value(*number) : otherwise;
}
inline Value absolute(const Value& value, const CallArguments& args, Budget&) {
  BoundArguments("abs", args, {});
  if (!value.number())
    value.is_undefined() ? fail_undefined(value) : fail("abs wants a number, got a ", value.type_name());
  const bool negative = value.integer() ? *value.integer() < 0 : *value.number() < 0;
  return negative ? signed_value("-", value) : signed_value("+", value);
}
/// Python's round(): half to even, of the exact value.
inline Value rounded(const Value& value, const CallArguments& args, Budget&) {
  const BoundArguments given("round", args, {"precision", "method"});
  const std::int64_t digits = given.integer(0, 0);
  const auto method = given.text(1).value_or(AuthoredText("common", false)).bytes();
  if (!value.number()) fail("round wants a number, got a ", value.type_name());
  if (method != "common" && method != "ceil" && method != "floor") fail("round: method is common, ceil or floor");
  if (digits < 0 || digits > 300) fail("round: precision is ", digits, ", wanted 0 to 300");
  if (method == "common") {
    if (value.integer()) return *value.integer();
    return std::strtod(fmt::format("{:.{}f}", *value.number(), digits).c_str(), nullptr);
  }
  const double scale = std::pow(10.0, static_cast<double>(digits)), scaled = *value.number() * scale;
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
}

/// The line ends inside a text followed by `width` blanks, or by that text; with `first` the begin too.
inline Value indent(const Value& value, const CallArguments& args, Budget& budget) {
  const BoundArguments given("indent", args, {"width", "first", "blank"});
  const bool is_text = given.has(0) && given[0]->text();
  const std::int64_t width = is_text ? 0 : given.integer(0, 4);
  budget.take_text(static_cast<std::size_t>(std::max(width, std::int64_t{0})));
  const AuthoredText margin =
      is_text ? *given[0]->text()
              : AuthoredText(std::string(static_cast<std::size_t>(std::max(width, std::int64_t{0})), ' '), false);
  const AuthoredText line_end("\n", false);
  AuthoredText text = to_text(value, budget);
  text.append(line_end);  // as Jinja has it, so that a line end at the end makes an empty line
  AuthoredText out;
  const auto lines = split_lines(text, false, budget);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const AuthoredText& line = *lines[i].text();
    budget.take_text(margin.size() + line.size());
    if (i > 0) out.append(line_end);
    if (i > 0 ? !line.empty() || given.boolean(2, false) : given.boolean(1, false)) out.append(margin);
    out.append(line);
  }
  budget.take_text(out.size());
  return out;
}

inline bool begins_jinja_word(char32_t c) {
  return c == U'-' || c == U'(' || c == U'{' || c == U'[' || c == U'<' || is_python_space(c);
}

/// A filter without arguments that makes a text of a text.
template <AuthoredText (*F)(const AuthoredText&, Budget&)>
Value text_to_text(const Value& value, const CallArguments& args, Budget& budget) {
  BoundArguments("this filter", args, {});
  return F(to_text(value, budget), budget);
}
inline AuthoredText jinja_title(const AuthoredText& text, Budget& budget) {
  return titled(text, budget, begins_jinja_word);
}

inline constexpr Filter text_filters[] = {
    {"tojson", tojson},
    {"int", to_int},
    {"float", to_float},
    {"abs", absolute},
    {"round", rounded},
    {"indent", indent},
    {"upper", text_to_text<upper>},
    {"lower", text_to_text<lower>},
    {"capitalize", text_to_text<capitalized>},
    {"title", text_to_text<jinja_title>},
    {"string",
     [](auto& value, auto& args, auto& budget) -> Value {
       return BoundArguments("string", args, {}), to_text(value, budget);
     }},
    // Marks a text as HTML; without escaping that changes nothing.
    {"safe",
     [](auto& value, auto& args, auto& budget) -> Value {
       return BoundArguments("safe", args, {}), to_text(value, budget);
     }},
    {"trim",
     [](auto& value, auto& args, auto& budget) -> Value {
       return stripped(to_text(value, budget), BoundArguments("trim", args, {"chars"}).text(0), Side::both, budget);
     }},
    {"replace", [](auto& value, auto& args, auto& budget) -> Value {
       const BoundArguments given("replace", args, {"old", "new", "count"});
       const std::int64_t count = given.has(2) && !given[2]->is_none() ? given.integer(2, -1) : -1;
       return replaced(to_text(value, budget), to_text(given.required(0), budget), to_text(given.required(1), budget),
                       count, budget);
     }}};

}  // namespace lamina::text::jinja::detail
