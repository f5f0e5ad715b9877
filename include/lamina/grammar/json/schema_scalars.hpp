#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lamina/grammar/json/decimal_range.hpp>
#include <lamina/grammar/json/formats.hpp>
#include <lamina/grammar/json/json_text.hpp>
#include <lamina/grammar/json/schema_place.hpp>

namespace lamina::grammar {

namespace detail {

/// Strings with minLength, maxLength, and one of pattern and format.
inline NodeId string_node(JsonText& text, const SchemaPlace& place) {
  Grammar& grammar = text.grammar();
  const std::uint32_t min = place.count("minLength").value_or(0);
  const std::uint32_t max = place.count("maxLength").value_or(Grammar::unbounded);
  if (min > max) place.wrong("minLength", cat("at most maxLength, ", max));
  const auto pattern = place.text("pattern"), format = place.text("format");
  const NodeId quote = grammar.literal("\"");
  if (!pattern && !format) {
    if (min == 0 && max == Grammar::unbounded) return text.string();
    return grammar.sequence({quote, grammar.repeat(text.character(), min, max), quote});
  }
  if (pattern && format) place.wrong("format", "none, because there is a pattern");
  const std::string regex = pattern ? *pattern : std::string(format_regex(*format));
  if (regex.empty() && format)
    place.wrong("format",
                "date, time, date-time, duration, email, hostname, ipv4, ipv6, "
                "uuid, uri or json-pointer");
  Pattern body;
  try {
    body = read_regex(regex, text.characters());
  } catch (const GrammarError& e) {
    refuse(place.path, ".", pattern ? "pattern" : "format", ": ", e.what());
  }
  const auto longest = max == Grammar::unbounded ? Pattern::endless : std::uint64_t{max};
  if (body.shortest < min) place.wrong("minLength", "none: the pattern or format has shorter texts");
  if (body.longest > longest) place.wrong("maxLength", "none: the pattern or format has longer texts");
  return grammar.sequence({quote, body.node, quote});
}

/// Bounds of numbers, in units of 10^-decimals.
class NumberBounds {
 public:
  explicit NumberBounds(const SchemaPlace& place) : place_(place) {
    read("minimum", false, low_), read("exclusiveMinimum", true, low_);
    read("maximum", false, high_), read("exclusiveMaximum", true, high_);
  }
  bool any() const { return !low_.empty() || !high_.empty(); }
  bool exclusive() const { return place_.find("exclusiveMinimum") || place_.find("exclusiveMaximum"); }
  double magnitude() const {
    double most = 0;
    for (const auto* side : {&low_, &high_})
      for (const Bound& bound : *side) most = std::max(most, std::abs(bound.value));
    return most;
  }
  /// The bounds as included ones.
  NumberBounds closed() const {
    NumberBounds out = *this;
    for (auto* side : {&out.low_, &out.high_})
      for (Bound& bound : *side) bound.exclusive = false;
    return out;
  }
  /// The decimals that the bounds are written with.
  int decimals() const {
    int most = 0;
    for (const auto* side : {&low_, &high_})
      for (const Bound& bound : *side) {
        const auto is_whole = [&](double unit) {
          const double value = std::abs(bound.value) * unit;
          return std::abs(value - std::round(value)) <= 1e-9 * std::max(1.0, value);
        };
        while (most < 6 && !is_whole(std::pow(10, most))) ++most;
      }
    return most;
  }
  /// The least and the greatest whole number of units.
  std::pair<std::int64_t, std::int64_t> units(int decimals) const {
    const double unit = std::pow(10, decimals);
    std::int64_t low = -DecimalRange::most, high = DecimalRange::most;
    for (const Bound& bound : low_) low = std::max(low, whole(bound, unit, 1));
    for (const Bound& bound : high_) high = std::min(high, whole(bound, unit, -1));
    return {low, high};
  }

 private:
  struct Bound {
    double value;
    bool exclusive;
  };
  void read(const char* keyword, bool exclusive, std::vector<Bound>& side) {
    const Json* value = place_.find(keyword);
    if (!value) return;
    if (!value->is_number()) place_.wrong(keyword, "a number");
    side.push_back({value->get<double>(), exclusive});
  }
  /// The whole number of units nearest to a bound, on the side (1: above) where values are allowed.
  static std::int64_t whole(const Bound& bound, double unit, int side) {
    const double scaled = std::clamp(bound.value * unit, -2.0 * DecimalRange::most, 2.0 * DecimalRange::most);
    const double nearest = std::round(scaled);
    const bool exact = std::abs(scaled - nearest) <= 1e-9 * std::max(1.0, std::abs(scaled)) && unit > 1;
    const double at = exact || scaled == nearest ? nearest : side > 0 ? std::ceil(scaled) : std::floor(scaled);
    const bool touches = exact || scaled == nearest;
    return static_cast<std::int64_t>(at) + (touches && bound.exclusive ? side : 0);
  }

  const SchemaPlace& place_;
  std::vector<Bound> low_, high_;
};

/// Integers within bounds; all of up to 15 digits without.
inline NodeId integer_node(JsonText& text, const SchemaPlace& place) {
  const NumberBounds bounds(place);
  if (!bounds.any()) return text.integer();
  const auto [low, high] = bounds.units(0);
  const auto range = DecimalRange(text.grammar()).between(low, high);
  if (!range) refuse(place.path, ": no integer is within the bounds");
  return *range;
}

/// Numbers within bounds: integers, numbers between two of these, and those of as many decimals as the bounds have. No
/// exponents.
inline NodeId number_node(JsonText& text, const SchemaPlace& place) {
  const NumberBounds bounds(place);
  if (!bounds.any()) return text.number();
  Grammar& grammar = text.grammar();
  std::vector<NodeId> branches;
  const auto [low, high] = bounds.units(0);
  if (const auto integers = DecimalRange(grammar).between(low, high)) branches.push_back(*integers);
  // n.f is between n and n + 1, -n.f between -n - 1 and -n: next to a bound in a double too, with so few digits.
  const auto [least, greatest] = bounds.closed().units(0);
  const std::uint32_t digits = bounds.magnitude() < 1e6 ? 9 : 1;
  const NodeId fraction = bounds.exclusive() ? text.fraction_above_0(digits) : text.fraction(digits);
  DecimalRange wholes(grammar);
  if (const auto above = wholes.between(std::max<std::int64_t>(least, 0), greatest - 1))
    branches.push_back(grammar.sequence({*above, fraction}));
  if (const auto below = wholes.between(std::max<std::int64_t>(-greatest, 0), -least - 1))
    branches.push_back(grammar.sequence({grammar.literal("-"), *below, fraction}));
  if (const int decimals = bounds.decimals(); decimals > 0) {
    const auto [first, last] = bounds.units(decimals);
    if (const auto fixed = DecimalRange(grammar, decimals).between(first, last)) branches.push_back(*fixed);
  }
  if (branches.empty()) refuse(place.path, ": no number of at most 6 decimals is within the bounds");
  return grammar.choice(std::move(branches));
}

}  // namespace detail
}  // namespace lamina::grammar
