#pragma once
#include "support/error_of.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace lamina::train::fake {

/// True if a and b differ by at most this share of the larger one, or by less than any rate or loss means.
inline bool near(double a, double b, double relative = 1e-12) {
  return std::abs(a - b) <= std::max(relative * std::max(std::abs(a), std::abs(b)), 1e-19);
}

using testing::error_of, testing::contains;

}  // namespace lamina::train::fake
