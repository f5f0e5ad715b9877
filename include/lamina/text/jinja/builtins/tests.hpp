#pragma once
#include <lamina/text/jinja/builtins/arguments.hpp>
#include <lamina/text/jinja/values/lookup.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

/// Jinja's tests: the names after "is".
namespace lamina::text::jinja {
namespace detail {

struct Test {
  std::string_view name;
  std::string_view parameter;  ///< of the one argument; "": there is none
  bool (*holds)(const Value&, const Value& argument, Budget&);
};

inline bool is_remainder(const Value& value, std::int64_t by, std::int64_t remainder) {
  if (value.is_undefined()) fail_undefined(value);
  const auto whole = value.integer();
  const auto* number = value.as<double>();
  if (!whole && !number) fail("a ", value.type_name(), " cannot be divided");
  if (by == 0) fail("a division by zero");
  return whole ? truth(integer_arithmetic("%", *whole, by)) == (remainder != 0) &&
                     integer_arithmetic("%", *whole, by).integer() == remainder
               : float_arithmetic("%", *number, static_cast<double>(by)).number() == static_cast<double>(remainder);
}
inline bool is_sequence(const Value& value) {
  const auto* list = value.sequence();
  return value.text() || value.dict() || value.is_undefined() || (list && list->has_index());
}
inline bool has_case_as(const Value& value, char32_t (*f)(char32_t), Budget& budget) {
  return has_case(to_text(value, budget), f);
}

template <char32_t (*F)(char32_t)>
bool cased(const Value& value, const Value&, Budget& budget) {
  return has_case_as(value, F, budget);
}
/// The word of compare() as a test.
#define LAMINA_COMPARISON(name, word)                                                         \
  Test {                                                                                      \
    name, "other", [](auto& a, auto& b, auto& budget) { return compare(word, a, b, budget); } \
  }
inline constexpr Test known_tests[] = {
    {"defined", "", [](auto& value, auto&, auto&) { return !value.is_undefined(); }},
    {"undefined", "", [](auto& value, auto&, auto&) { return value.is_undefined(); }},
    {"none", "", [](auto& value, auto&, auto&) { return value.is_none(); }},
    {"string", "", [](auto& value, auto&, auto&) { return value.text() != nullptr; }},
    {"mapping", "", [](auto& value, auto&, auto&) { return value.dict() != nullptr; }},
    {"sequence", "", [](auto& value, auto&, auto&) { return is_sequence(value); }},
    {"iterable", "", [](auto& value, auto&, auto&) { return is_sequence(value) || value.sequence(); }},
    {"number", "", [](auto& value, auto&, auto&) { return value.number().has_value(); }},
    {"integer", "",
     [](auto& value, auto&, auto&) {
       return value.template as<std::int64_t>() != nullptr || value.template as<LargeInteger>() != nullptr;
     }},
    {"float", "", [](auto& value, auto&, auto&) { return value.template as<double>() != nullptr; }},
    {"boolean", "", [](auto& value, auto&, auto&) { return value.template as<bool>() != nullptr; }},
    {"true", "", [](auto& value, auto&, auto&) { return value.template as<bool>() && truth(value); }},
    {"false", "", [](auto& value, auto&, auto&) { return value.template as<bool>() && !truth(value); }},
    {"callable", "", [](auto& value, auto&, auto&) { return value.callable() != nullptr; }},
    {"odd", "", [](auto& value, auto&, auto&) { return is_remainder(value, 2, 1); }},
    {"even", "", [](auto& value, auto&, auto&) { return is_remainder(value, 2, 0); }},
    {"upper", "", cased<upper>},
    {"lower", "", cased<lower>},
    {"divisibleby", "num",
     [](auto& value, auto& by, auto&) {
       if (!by.integer()) fail("divisibleby wants an integer, got a ", by.type_name());
       return is_remainder(value, *by.integer(), 0);
     }},
    {"sameas", "other", [](auto& a, auto& b, auto&) { return a.same_as(b); }},
    {"in", "seq", [](auto& value, auto& hay, auto& budget) { return contains(hay, value, budget); }},
    LAMINA_COMPARISON("==", "=="),
    LAMINA_COMPARISON("eq", "=="),
    LAMINA_COMPARISON("equalto", "=="),
    LAMINA_COMPARISON("!=", "!="),
    LAMINA_COMPARISON("ne", "!="),
    LAMINA_COMPARISON("<", "<"),
    LAMINA_COMPARISON("lt", "<"),
    LAMINA_COMPARISON("lessthan", "<"),
    LAMINA_COMPARISON("<=", "<="),
    LAMINA_COMPARISON("le", "<="),
    LAMINA_COMPARISON(">", ">"),
    LAMINA_COMPARISON("gt", ">"),
    LAMINA_COMPARISON("greaterthan", ">"),
    LAMINA_COMPARISON(">=", ">="),
    LAMINA_COMPARISON("ge", ">=")};
#undef LAMINA_COMPARISON

inline const Test* find_test(std::string_view name) {
  const auto found =
      std::find_if(std::begin(known_tests), std::end(known_tests), [&](auto& t) { return t.name == name; });
  return found == std::end(known_tests) ? nullptr : found;
}

}  // namespace detail

/// value is name(arguments)
inline bool apply_test(std::string_view name, const Value& value, const CallArguments& arguments, Budget& budget) {
  const auto* test = detail::find_test(name);
  if (!test) fail("the test \"", name, "\" is not supported");
  budget.take();
  if (test->parameter.empty()) {
    BoundArguments(name, arguments, {});
    return test->holds(value, {}, budget);
  }
  return test->holds(value, BoundArguments(name, arguments, {test->parameter}).required(0), budget);
}

}  // namespace lamina::text::jinja
