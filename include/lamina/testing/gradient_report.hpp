#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include <lamina/core/error.hpp>

/// What check_gradients is asked for, and what it found.
namespace lamina::testing {

/// Largest difference between a gradient and its finite difference, relative to the largest gradient of that tensor.
///
/// The derivative of f(x) = sum_ij w_ij y_ij, w in [-1, 1), is (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, for the one
/// of h = 2^-5, 2^-8, 2^-12 that comes nearest. Inputs are odd multiples of 2^-11, so x + h is exact, and no step of
/// 2^-12 crosses 0, where a ReLU bends. A large step leaves h^4/30 f^(5) of truncation; a small one, for each output
/// that moves, an fp32 rounding of k 2^-24 |y| times 1.5 / h, k about the root of its sums' length. At 2^-5 a few
/// hundred outputs with k = 10 make 5e-4; a wrong term of a derivative is seen from 1e-3 up.
inline constexpr double finite_difference_tolerance = 1e-3;

struct GradientOptions {
  int rows = 5;            ///< output rows, in two packed sequences; a layer that joins rows reads more
  int rank = 3;            ///< of adapters whose rank the type leaves open
  float dropout = 0;       ///< of adapters
  std::uint64_t seed = 1;  ///< of inputs, parameters and the projection w
  double tolerance = finite_difference_tolerance;
  std::size_t scratch_bytes = std::size_t{1} << 24;
  int samples = 0;  ///< elements of each tensor that are moved, spread over it; 0: all
};

/// What check_gradients found.
struct GradientReport {
  struct Quantity {
    std::string name;  ///< "dx", or a parameter's checkpoint name
    double worst_error = 0;
    std::int64_t elements = 0;  ///< that were moved
    std::string hint;           ///< what a wrong gradient looks like, or ""
  };
  std::vector<Quantity> quantities;
  std::vector<std::string> broken;  ///< promises of core/run.hpp that do not hold, in words
  double tolerance = 0;

  /// Names of the gradients that differ from their finite differences.
  std::vector<std::string> wrong() const {
    std::vector<std::string> names;
    for (const Quantity& q : quantities)
      if (!(q.worst_error <= tolerance)) names.push_back(q.name);
    return names;
  }
  bool passed() const { return broken.empty() && wrong().empty(); }
  /// One line a quantity and one a broken promise.
  std::string text() const {
    std::string lines;
    for (const Quantity& q : quantities) {
      lines += q.name + " (" + std::to_string(q.elements) + "): relative error " + std::to_string(q.worst_error);
      if (!(q.worst_error <= tolerance)) lines += q.hint.empty() ? "  WRONG" : "  WRONG: " + q.hint;
      lines += "\n";
    }
    for (const std::string& promise : broken) lines += "broken: " + promise + "\n";
    return lines;
  }
};

/// One forward and backward of a module on the numbers of check_gradients.
struct GradientRun {
  std::vector<float> y, dx;
  std::vector<float> gradients;  ///< of all learning parameters, in the order of compose/plan/weights.hpp
  bool operator==(const GradientRun&) const = default;
};

namespace detail {

/// What a gradient g looks like, compared with the slopes s of the same elements, in words; "" if like nothing in
/// particular.
inline std::string difference_of(const std::vector<double>& g, const std::vector<double>& s) {
  double gg = 0, gs = 0, ss = 0;
  for (std::size_t i = 0; i < g.size(); ++i) gg += g[i] * g[i], gs += g[i] * s[i], ss += s[i] * s[i];
  if (std::isnan(gg)) return "it has NaN: memory that nobody wrote is read";
  if (gg == 0) return "it is 0 everywhere: nothing writes it";
  if (ss == 0) return "it should be 0 everywhere";
  const double factor = gs / ss, alike = gs * gs / (gg * ss);
  if (alike > 0.9999 && std::abs(factor - 1) > 1e-3) {
    std::ostringstream text;
    text << "it is " << std::setprecision(4) << factor << " times the finite difference: a factor is missing";
    return text.str();
  }
  if (alike < 0.01) return "it has nothing to do with the finite difference: another order of elements?";
  return "";
}

}  // namespace detail

}  // namespace lamina::testing
