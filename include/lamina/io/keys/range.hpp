#pragma once
#include <charconv>
#include <concepts>
#include <limits>
#include <string>

#include <lamina/core/error.hpp>

namespace lamina::io {

/// The shortest text that reads as the same number: of a default, or of what is wanted.
template <class T>
requires std::floating_point<T> ||(std::integral<T> && !std::same_as<T, bool>)std::string show_value(T value) {
  char text[32];  // enough for any number
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// The numbers that a key may be. Its ends are among them, unless `above` or `below` says otherwise.
struct Range {
  double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
  bool above = false, below = false;  ///< least, or most, is not among them

  constexpr bool holds(double x) const { return (above ? x > least : x >= least) && (below ? x < most : x <= most); }

  /// What a message says is wanted.
  std::string text() const {
    if (most == std::numeric_limits<double>::infinity())
      return !above ? cat("at least ", end(least)) : least == 0 ? "a positive number" : cat("above ", end(least));
    if (least == -std::numeric_limits<double>::infinity()) return cat(below ? "below " : "at most ", end(most));
    if (!above && !below) return cat("a number in [", end(least), ", ", end(most), "]");
    return cat(above ? "above " : "", end(least), " up to ", below ? "below " : "", end(most));
  }

 private:
  /// Whole numbers without an exponent.
  static std::string end(double x) {
    return x > -0x1p53 && x < 0x1p53 && x == static_cast<double>(static_cast<long long>(x))
               ? show_value(static_cast<long long>(x))
               : show_value(x);
  }
};

constexpr Range at_least(double least) { return {.least = least}; }
constexpr Range between(double least, double most) { return {.least = least, .most = most}; }
inline constexpr Range positive{.least = 0, .above = true};
inline constexpr Range proportion{.least = 0, .most = 1, .below = true};  ///< 0 up to below 1

}  // namespace lamina::io
