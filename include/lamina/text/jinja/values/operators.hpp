#pragma once
#include <lamina/text/jinja/values/printing.hpp>
#include <lamina/text/jinja/values/value.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What Python's operators do to values.
namespace lamina::text::jinja {

inline bool truth(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (const auto number = value.number()) return *number != 0;
  if (const auto* text = value.text()) return !text->empty();
  if (const auto* list = value.sequence()) return !list->has_length() || !list->items.empty();
  const auto* entries = value.dict();
  return !entries || !entries->entries.empty();
}

[[noreturn]] inline void fail_undefined(const Value& value) { fail(value.as<Undefined>()->what); }

/// Code points of a text: Python's len().
inline std::size_t text_length(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// len(), or nothing if the value has no length.
inline std::optional<std::size_t> length(const Value& value) {
  if (const auto* text = value.text()) return text_length(text->bytes());
  if (const auto* entries = value.dict()) return entries->entries.size();
  if (value.is_undefined()) return 0;
  const auto* list = value.sequence();
  return list && list->has_length() ? std::optional(list->items.size()) : std::nullopt;
}

/// Cuts a text into its code points.
inline std::vector<Value> characters(const AuthoredText& text, Budget& budget) {
  std::vector<Value> out;
  for (std::size_t at = 0; at < text.size();) {
    const auto size = static_cast<std::size_t>(io::read_utf8(text.bytes(), at).size);
    budget.take();
    out.push_back(text.slice(at, size));
    at += size;
  }
  return out;
}

/// What a {% for %} goes over; a generator is read to its end.
inline std::vector<Value> items_of(const Value& value, Budget& budget) {
  if (value.is_undefined()) return {};
  if (const auto* text = value.text()) return characters(*text, budget);
  std::vector<Value> out;
  if (const auto* list = value.sequence()) {
    out.assign(list->items.begin() + static_cast<std::ptrdiff_t>(list->next), list->items.end());
    if (!list->has_length()) list->next = list->items.size();
  } else if (const auto* entries = value.dict()) {
    for (const auto& [key, item] : entries->entries) out.push_back(key);
  } else {
    fail("a ", value.type_name(), " has no items to go over");
  }
  budget.take(static_cast<std::int64_t>(out.size()));
  return out;
}

/// ==
inline bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.take();
  if (a.number() && b.number()) {
    const auto left = a.integer(), right = b.integer();
    return left && right ? *left == *right : *a.number() == *b.number();
  }
  if (a.is_undefined() && b.is_undefined()) return true;
  if (const auto* left = a.text(), *right = b.text(); left && right) {
    budget.take(static_cast<std::int64_t>(std::min(left->size(), right->size()) / 16));
    return left->bytes() == right->bytes();
  }
  if (const auto* left = a.sequence(), *right = b.sequence(); left && right) {
    const auto same = [&](const Value& x, const Value& y) { return equal(x, y, budget); };
    if (!left->has_index()) return left == right;
    return left->kind == right->kind &&
           std::equal(left->items.begin(), left->items.end(), right->items.begin(), right->items.end(), same);
  }
  if (const auto* left = a.dict(), *right = b.dict(); left && right) {
    if (left->entries.size() != right->entries.size()) return false;
    return std::all_of(left->entries.begin(), left->entries.end(), [&](const auto& entry) {
      const Value* other = right->find(entry.first);
      return other && equal(entry.second, *other, budget);
    });
  }
  return a.same_as(b) && !a.is_undefined();
}

/// a < b; fails for values without an order.
inline bool less(const Value& a, const Value& b, Budget& budget) {
  budget.take();
  if (const auto left = a.number(), right = b.number(); left && right) {
    const auto whole_left = a.integer(), whole_right = b.integer();
    return whole_left && whole_right ? *whole_left < *whole_right : *left < *right;
  }
  if (const auto* left = a.text(), *right = b.text(); left && right) {
    budget.take(static_cast<std::int64_t>(std::min(left->size(), right->size()) / 16));
    return left->bytes() < right->bytes();  // the order of code points
  }
  if (const auto* left = a.sequence(), *right = b.sequence();
      left && right && left->has_index() && left->kind == right->kind) {
    for (std::size_t i = 0; i < left->items.size() && i < right->items.size(); ++i)
      if (!equal(left->items[i], right->items[i], budget)) return less(left->items[i], right->items[i], budget);
    return left->items.size() < right->items.size();
  }
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  fail("a ", a.type_name(), " and a ", b.type_name(), " have no order");
}

/// needle in hay
inline bool contains(const Value& hay, const Value& needle, Budget& budget) {
  if (const auto* text = hay.text()) {
    const auto* part = needle.text();
    if (!part) fail("a string cannot hold a ", needle.type_name(), ": \"in\" wants a string before it");
    budget.take(static_cast<std::int64_t>(1 + text->size() / 16));
    return text->bytes().find(part->bytes()) != std::string::npos;
  }
  if (const auto* entries = hay.dict()) return entries->find(needle) != nullptr;
  if (!hay.sequence() && !hay.is_undefined()) fail("\"in\" cannot look into a ", hay.type_name());
  const auto items = items_of(hay, budget);
  return std::any_of(items.begin(), items.end(), [&](const Value& item) { return equal(item, needle, budget); });
}

/// One of == != < <= > >= in notin.
inline bool compare(std::string_view word, const Value& a, const Value& b, Budget& budget) {
  if (word == "==") return equal(a, b, budget);
  if (word == "!=") return !equal(a, b, budget);
  if (word == "in") return contains(b, a, budget);
  if (word == "notin") return !contains(b, a, budget);
  if (word == "<") return less(a, b, budget);
  if (word == ">") return less(b, a, budget);
  const bool numbers = a.number() && b.number();  // of which NaN has no order with any
  if (word == "<=") return numbers ? less(a, b, budget) || equal(a, b, budget) : !less(b, a, budget);
  return numbers ? less(b, a, budget) || equal(a, b, budget) : !less(a, b, budget);
}

namespace detail {

[[noreturn]] inline void fail_overflow() { fail("an integer beyond 64 bits is not supported"); }

inline std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (b == -1 && a == INT64_MIN) fail_overflow();
  return a / b - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

inline std::int64_t integer_power(std::int64_t base, std::int64_t exponent) {
  std::int64_t out = 1;
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(out, base, &out)) fail_overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) fail_overflow();
  }
  return out;
}

inline Value integer_arithmetic(std::string_view sign, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  if ((sign == "+" && __builtin_add_overflow(a, b, &out)) || (sign == "-" && __builtin_sub_overflow(a, b, &out)) ||
      (sign == "*" && __builtin_mul_overflow(a, b, &out)))
    fail_overflow();
  if (sign == "+" || sign == "-" || sign == "*") return out;
  if (sign == "**")
    return b < 0 ? Value(std::pow(static_cast<double>(a), static_cast<double>(b))) : integer_power(a, b);
  if (b == 0) fail("a division by zero");
  if (sign == "/") return static_cast<double>(a) / static_cast<double>(b);
  if (sign == "//") return floor_divide(a, b);
  return b == -1 ? Value(0) : Value(a - floor_divide(a, b) * b);
}

inline Value float_arithmetic(std::string_view sign, double a, double b) {
  if (sign == "+") return a + b;
  if (sign == "-") return a - b;
  if (sign == "*") return a * b;
  if (sign == "**") return std::pow(a, b);
  if (b == 0) fail("a division by zero");
  if (sign == "/") return a / b;
  double rest = std::fmod(a, b);
  const double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  if (sign == "%") return rest == 0 ? std::copysign(0.0, b) : rest;
  return std::floor(rest != std::fmod(a, b) ? quotient - 1 : quotient);
}

/// A text or a list, so many times.
inline Value repeated(const Value& value, std::int64_t times, Budget& budget) {
  const std::size_t count = times > 0 ? static_cast<std::size_t>(times) : 0;
  const auto of = [&](std::size_t size) {
    if (size > 0 && count > (std::size_t{1} << 40) / size) budget.take(std::int64_t{1} << 60);
    return size * count;
  };
  if (const auto* text = value.text()) {
    budget.take_text(of(text->size()));
    AuthoredText out;
    for (std::size_t i = 0; i < (text->empty() ? 0 : count); ++i) out.append(*text);
    return out;
  }
  const auto* list = value.sequence();
  budget.take(static_cast<std::int64_t>(of(list->items.size())));
  std::vector<Value> out;
  for (std::size_t i = 0; i < (list->items.empty() ? 0 : count); ++i)
    out.insert(out.end(), list->items.begin(), list->items.end());
  return make_sequence(list->kind, std::move(out));
}

inline bool is_list_or_tuple(const Value& value) {
  const auto* list = value.sequence();
  return list && (list->kind == ValueSequence::Kind::list || list->kind == ValueSequence::Kind::tuple);
}

}  // namespace detail

/// One of + - * / // % **.
inline Value arithmetic(std::string_view sign, const Value& a, const Value& b, Budget& budget) {
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  const auto left = a.integer(), right = b.integer();
  if (left && right) return detail::integer_arithmetic(sign, *left, *right);
  if (a.as<LargeInteger>() || b.as<LargeInteger>()) detail::fail_overflow();
  if (a.number() && b.number()) return detail::float_arithmetic(sign, *a.number(), *b.number());
  if (sign == "+" && a.text() && b.text()) {
    budget.take_text(a.text()->size() + b.text()->size());
    AuthoredText out = *a.text();
    out.append(*b.text());
    return out;
  }
  if (sign == "+" && detail::is_list_or_tuple(a) && detail::is_list_or_tuple(b) &&
      a.sequence()->kind == b.sequence()->kind) {
    std::vector<Value> out = a.sequence()->items;
    out.insert(out.end(), b.sequence()->items.begin(), b.sequence()->items.end());
    budget.take(static_cast<std::int64_t>(out.size()));
    return make_sequence(a.sequence()->kind, std::move(out));
  }
  if (sign == "*" && right && (a.text() || detail::is_list_or_tuple(a))) return detail::repeated(a, *right, budget);
  if (sign == "*" && left && (b.text() || detail::is_list_or_tuple(b))) return detail::repeated(b, *left, budget);
  if (sign == "%" && a.text()) fail("the % of strings is not supported: join them with ~");
  fail("cannot compute ", a.type_name(), " ", sign, " ", b.type_name());
}

/// The sign before a number.
inline Value signed_value(std::string_view sign, const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (const auto whole = value.integer())
    return sign == "-" ? detail::integer_arithmetic("-", 0, *whole) : Value(*whole);
  const auto* number = value.as<double>();
  if (!number) fail("a ", value.type_name(), " has no sign");
  return sign == "-" ? -*number : *number;
}

}  // namespace lamina::text::jinja
