#pragma once
#include <lamina/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <string>

namespace lamina::train::fake {

/// True if a and b differ by at most this share of the larger one, or by less than any rate or loss means.
inline bool near(double a, double b, double relative = 1e-12) {
  return std::abs(a - b) <= std::max(relative * std::max(std::abs(a), std::abs(b)), 1e-19);
}

/// The message of the Error that f throws, "" if it throws none.
template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace lamina::train::fake
