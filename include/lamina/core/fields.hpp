#pragma once
#include <cstddef>
#include <type_traits>

/// Visits the members of a plain aggregate, so that what a layer saves is declared once, as a struct.
namespace lamina {
namespace detail {
struct AnyField {
  template <class T>
  constexpr operator T() const;
};
template <class S, class... Args>
constexpr std::size_t field_count() {
  if constexpr (requires { S{Args{}..., AnyField{}}; }) {
    return field_count<S, Args..., AnyField>();
  } else {
    return sizeof...(Args);
  }
}
}  // namespace detail

/// Calls f on each member of an aggregate of at most eight members.
template <class S, class F>
constexpr void for_each_field(S& s, F&& f) {
  constexpr std::size_t n = detail::field_count<std::remove_const_t<S>>();
  static_assert(n <= 8, "for_each_field: at most eight members; group some of them in a struct");
  if constexpr (n == 1) {
    auto& [a] = s;
    f(a);
  } else if constexpr (n == 2) {
    auto& [a, b] = s;
    f(a), f(b);
  } else if constexpr (n == 3) {
    auto& [a, b, c] = s;
    f(a), f(b), f(c);
  } else if constexpr (n == 4) {
    auto& [a, b, c, d] = s;
    f(a), f(b), f(c), f(d);
  } else if constexpr (n == 5) {
    auto& [a, b, c, d, e] = s;
    f(a), f(b), f(c), f(d), f(e);
  } else if constexpr (n == 6) {
    auto& [a, b, c, d, e, g] = s;
    f(a), f(b), f(c), f(d), f(e), f(g);
  } else if constexpr (n == 7) {
    auto& [a, b, c, d, e, g, h] = s;
    f(a), f(b), f(c), f(d), f(e), f(g), f(h);
  } else if constexpr (n == 8) {
    auto& [a, b, c, d, e, g, h, i] = s;
    f(a), f(b), f(c), f(d), f(e), f(g), f(h), f(i);
  }
}

}  // namespace lamina
