#pragma once
#include <lamina/text/jinja/builtins/list_filters.hpp>
#include <lamina/text/jinja/builtins/text_filters.hpp>
#include <lamina/text/jinja/parse/expression_parser.hpp>

#include <algorithm>
#include <string_view>

/// Jinja's filters: the names after "|".
namespace lamina::text::jinja {
namespace detail {

inline const Filter* find_filter(std::string_view name) {
  const Filter* found = nullptr;
  const auto look = [&](const auto& table) {
    for (const Filter& filter : table)
      if (filter.name == name) found = &filter;
  };
  look(text_filters);
  look(list_filters);
  return found;
}

}  // namespace detail

inline Value apply_filter(std::string_view name, const Value& value, const CallArguments& arguments, Budget& budget) {
  const auto* filter = detail::find_filter(name);
  if (!filter) fail("the filter \"", name, "\" is not supported");
  budget.take();
  return filter->call(value, arguments, budget);
}

inline void detail::ExpressionParser::check_filter(const std::string& name, int line) {
  if (!find_filter(name)) fail_at(line, "the filter \"", name, "\" is not supported");
}
inline void detail::ExpressionParser::check_test(const std::string& name, int line) {
  if (!find_test(name)) fail_at(line, "the test \"", name, "\" is not supported");
}

}  // namespace lamina::text::jinja
