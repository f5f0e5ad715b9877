#pragma once
#include <lamina/text/jinja/values/operators.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// value[key] and value[begin:end:step], as Python has them.
namespace lamina::text::jinja {
namespace detail {

/// Byte positions of a text's code points, and its size behind them; code point i begins at i if the text is ASCII.
inline std::vector<std::size_t> code_point_places(const AuthoredText& text, Budget& budget) {
  budget.take(static_cast<std::int64_t>(1 + text.size() / 16));
  std::vector<std::size_t> out;
  for (std::size_t at = 0; at < text.size(); at += static_cast<std::size_t>(io::read_utf8(text.bytes(), at).size))
    out.push_back(at);
  out.push_back(text.size());
  return out;
}

/// The place that an index means among `count` items, negative ones from the end.
inline std::optional<std::size_t> place(std::int64_t index, std::size_t count) {
  if (index < 0) index += static_cast<std::int64_t>(count);
  return index >= 0 && index < static_cast<std::int64_t>(count) ? std::optional(static_cast<std::size_t>(index))
                                                                : std::nullopt;
}

inline std::optional<std::int64_t> slice_bound(const Value& value) {
  if (value.is_none()) return {};
  const auto bound = value.integer();
  if (!bound) fail("a slice wants integers, but one of its bounds is a ", value.type_name());
  return bound;
}

/// The indices that a slice takes from `count` items, as Python's slice.indices: first, how many, step.
struct SlicePlan {
  std::int64_t first, count, step;
};
inline SlicePlan plan_slice(const std::array<Value, 3>& bounds, std::int64_t count) {
  const std::int64_t step = slice_bound(bounds[2]).value_or(1);
  if (step == 0) fail("the step of a slice is 0");
  const std::int64_t low = step < 0 ? -1 : 0, high = step < 0 ? count - 1 : count;
  const auto clamp = [&](const Value& value, std::int64_t otherwise) {
    auto bound = slice_bound(value);
    if (!bound) return otherwise;
    if (*bound < 0) *bound = *bound < -count ? low : *bound + count;
    return std::clamp(*bound, low, high);
  };
  const std::int64_t first = clamp(bounds[0], step < 0 ? high : low), last = clamp(bounds[1], step < 0 ? low : high);
  const std::int64_t distance = step < 0 ? first - last : last - first;
  if (distance <= 0) return {first, 0, step};
  const auto stride = step < 0 ? 0 - static_cast<std::uint64_t>(step) : static_cast<std::uint64_t>(step);
  return {first, static_cast<std::int64_t>((static_cast<std::uint64_t>(distance) - 1) / stride + 1), step};
}

}  // namespace detail

/// value[begin:end:step]; a bound that is not written is None.
inline Value slice(const Value& value, const std::array<Value, 3>& bounds, Budget& budget) {
  if (const auto* text = value.text()) {
    const auto places = detail::code_point_places(*text, budget);
    const auto plan = detail::plan_slice(bounds, static_cast<std::int64_t>(places.size()) - 1);
    const auto at = [&](std::int64_t i) { return places[static_cast<std::size_t>(i)]; };
    if (plan.count == 0) return AuthoredText();
    if (plan.step == 1) return text->slice(at(plan.first), at(plan.first + plan.count) - at(plan.first));
    AuthoredText out;
    for (std::int64_t i = 0; i < plan.count; ++i) {
      const std::int64_t from = plan.first + i * plan.step;
      budget.take();
      out.append(text->slice(at(from), at(from + 1) - at(from)));
    }
    return out;
  }
  const auto* list = value.sequence();
  if (value.is_undefined()) fail_undefined(value);
  if (!list || !list->has_index()) fail("a ", value.type_name(), " cannot be sliced");
  const auto plan = detail::plan_slice(bounds, static_cast<std::int64_t>(list->items.size()));
  budget.take(plan.count);
  std::vector<Value> out;
  for (std::int64_t i = 0; i < plan.count; ++i)
    out.push_back(list->items[static_cast<std::size_t>(plan.first + i * plan.step)]);
  return make_sequence(list->kind, std::move(out));
}

/// value[key] without what attributes would add; nothing if there is no such item.
inline std::optional<Value> item(const Value& value, const Value& key, Budget& budget) {
  if (value.is_undefined()) fail_undefined(value);
  if (const auto* entries = value.dict()) {
    const Value* found = entries->find(key);
    return found ? std::optional(*found) : std::nullopt;
  }
  const auto index = key.integer();
  if (!index) return {};
  if (const auto* text = value.text()) {
    const auto places = detail::code_point_places(*text, budget);
    const auto at = detail::place(*index, places.size() - 1);
    return at ? std::optional<Value>(text->slice(places[*at], places[*at + 1] - places[*at])) : std::nullopt;
  }
  const auto* list = value.sequence();
  if (!list || !list->has_index()) return {};
  const auto at = detail::place(*index, list->items.size());
  return at ? std::optional(list->items[*at]) : std::nullopt;
}

}  // namespace lamina::text::jinja
