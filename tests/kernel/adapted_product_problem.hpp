#pragma once
#include <lamina/kernel/matmul/add_adapters.hpp>

#include <numeric>
#include <random>

#include "random_matrix.hpp"
#include "support/catch.hpp"

/// The rest of a product that was one with A, random, with the formula in double.
namespace lamina::test {

struct AdaptedShape {
  int rows;
  std::vector<int> widths;
  int rank, slots, slot_stride = 1;
  float beta = 0;
  bool gated = false, bias = false;
};
/// One row and many, one part and several, more slots than are asked for at once, widths that no tile has.
inline const std::vector<AdaptedShape> adapted_shapes = {
    {.rows = 1, .widths = {64}, .rank = 16, .slots = 1},
    {.rows = 64, .widths = {256, 64, 96}, .rank = 16, .slots = 8, .bias = true},
    {.rows = 33, .widths = {96, 96}, .rank = 32, .slots = 3, .gated = true},
    {.rows = 300, .widths = {128}, .rank = 48, .slots = 11, .beta = 1},
    {.rows = 24, .widths = {64}, .rank = 16, .slots = 3, .slot_stride = 4, .beta = 0.5f, .bias = true},
    {.rows = 19, .widths = {40, 24, 8}, .rank = 16, .slots = 2, .beta = 1},
    {.rows = 7, .widths = {36, 36}, .rank = 4, .slots = 2, .gated = true, .bias = true}};

template <class T>
struct AdaptedProductProblem {
  AdaptedShape shape;
  int outputs;
  RandomMatrix<T> h, b, bias, y;
  std::vector<int> slots;

  explicit AdaptedProductProblem(const AdaptedShape& s)
      : shape(s),
        outputs(std::accumulate(s.widths.begin(), s.widths.end(), 0)),
        h(s.rows, outputs + s.slots * static_cast<int>(s.widths.size()) * s.rank, 1, 8),
        b(s.slots * outputs, s.rank, 2, 0),
        bias(1, outputs, 3, 0),
        y(s.rows, s.gated ? outputs / 2 : outputs, 4, 8) {
    std::mt19937 random(5);
    for (int n = 0; n < s.rows * s.slot_stride; ++n)
      slots.push_back(static_cast<int>(random() % (static_cast<unsigned>(s.slots) + 1)) - 1);
  }
  kernel::AdaptedProduct<T> arguments(Matrix<const T> from, Weight wb, const T* own_bias, const int* at,
                                      Matrix<T> to) const {
    kernel::AdaptedProduct<T> out{.h = from,
                                  .adapters = {{}, wb, shape.slots, shape.rank, parts(), {}},
                                  .bias = shape.bias ? own_bias : nullptr,
                                  .slots = at,
                                  .slot_stride = shape.slot_stride,
                                  .y = to,
                                  .beta = shape.beta,
                                  .gated = shape.gated};
    std::copy(shape.widths.begin(), shape.widths.end(), out.adapters.widths.begin());
    return out;
  }
  /// Elements further from the formula than the roundings of fp32 sums and of the result allow; tells the first.
  int count_far(RandomMatrix<T>& got) {
    const double step = std::is_same_v<T, float> ? 0x1p-23 : std::is_same_v<T, bf16> ? 0x1p-8 : 0x1p-11;
    int far = 0;
    for (int n = 0; n < y.rows; ++n)
      for (int o = 0; o < y.cols; ++o) {
        const Sum own = z(n, o);
        double want = own.value + double{shape.beta} * to_f32(y(n, o)), terms = own.terms + 1;
        if (shape.gated) {
          const Sum up = z(n, o + y.cols);
          want = own.value / (1 + std::exp(-own.value)) * up.value, terms = own.terms * up.terms + 1;
        }
        const double bound = step * std::fabs(want) + 8 * (shape.rank + 8) * 0x1p-24 * terms;
        if (std::fabs(to_f32(got(n, o)) - want) <= bound) continue;
        if (far++ == 0) UNSCOPED_INFO("(" << n << ", " << o << "): got " << to_f32(got(n, o)) << ", want " << want);
      }
    return far;
  }

 private:
  struct Sum {
    double value, terms;  ///< the sum, and that of its terms' magnitudes
  };
  int parts() const { return static_cast<int>(shape.widths.size()); }
  Sum z(int n, int o) {
    double value = to_f32(h(n, o)) + (shape.bias ? to_f32(bias(0, o)) : 0.0), terms = std::fabs(value);
    const int slot = slots[static_cast<std::size_t>(n * shape.slot_stride)];
    int part = 0;
    for (int end = shape.widths[0]; o >= end; end += shape.widths[static_cast<std::size_t>(part)]) ++part;
    for (int r = 0; slot >= 0 && r < shape.rank; ++r) {
      const double term =
          double{to_f32(b(slot * outputs + o, r))} * to_f32(h(n, outputs + (slot * parts() + part) * shape.rank + r));
      value += term, terms += std::fabs(term);
    }
    return {value, terms};
  }
};

}  // namespace lamina::test
