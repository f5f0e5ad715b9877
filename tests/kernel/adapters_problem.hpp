#pragma once
#include <lamina/kernel/matmul/add_adapters.hpp>

#include <numeric>
#include <random>

#include "random_matrix.hpp"
#include "support/catch.hpp"

/// Adapters of a product, random, with the formula in double.
namespace lamina::test {

struct AdaptersShape {
  int rows, columns;
  std::vector<int> widths;
  int rank, slots, slot_stride = 1;
};
/// One row and many, one part and several, a slot for every row or for four, widths that are no whole pieces.
inline const std::vector<AdaptersShape> adapters_shapes = {
    {.rows = 1, .columns = 64, .widths = {64}, .rank = 16, .slots = 1},
    {.rows = 5, .columns = 20, .widths = {12}, .rank = 4, .slots = 2},
    {.rows = 64, .columns = 2048, .widths = {256, 64, 64}, .rank = 16, .slots = 8},
    {.rows = 33, .columns = 1000, .widths = {136, 40}, .rank = 48, .slots = 3},
    {.rows = 300, .columns = 256, .widths = {96}, .rank = 64, .slots = 5},
    {.rows = 19, .columns = 512, .widths = {40, 24, 8}, .rank = 128, .slots = 2},
    {.rows = 24, .columns = 128, .widths = {64}, .rank = 32, .slots = 3, .slot_stride = 4},
    {.rows = 17, .columns = 3420, .widths = {65, 64}, .rank = 16, .slots = 2}};

/// `runs`: neighbouring rows that mostly have one adapter, as prompts do.
template <class T>
struct AdaptersProblem {
  AdaptersShape shape;
  int outputs;
  RandomMatrix<T> x, a, b, y;
  std::vector<int> slots;

  AdaptersProblem(const AdaptersShape& s, unsigned seed, bool runs = false, int gap = 8)
      : shape(s),
        outputs(std::accumulate(s.widths.begin(), s.widths.end(), 0)),
        x(s.rows, s.columns, seed, gap),
        a(s.slots * static_cast<int>(s.widths.size()) * s.rank, s.columns, seed + 1, (8 - s.columns % 8) % 8),
        b(s.slots * outputs, s.rank, seed + 2, 0),
        y(s.rows, outputs, seed + 3, gap) {
    std::mt19937 random(seed);
    for (int n = 0, slot = -1; n < s.rows; ++n) {
      if (!runs || random() % 40 == 0) slot = static_cast<int>(random() % (s.slots + 1u)) - 1;
      slots.insert(slots.end(), static_cast<std::size_t>(s.slot_stride), slot);
    }
  }
  /// What kernels are given; y receives the sums.
  kernel::AddAdapters<T> arguments(RandomMatrix<T>& to) {
    return arguments(x, a.weight(), b.weight(), slots.data(), to);
  }
  kernel::AddAdapters<T> arguments(Matrix<const T> input, Weight wa, Weight wb, const int* at, Matrix<T> to) const {
    kernel::AddAdapters<T> out{.x = input, .adapters = {}, .slots = at, .slot_stride = shape.slot_stride, .y = to};
    out.adapters = {wa, wb, shape.slots, shape.rank, static_cast<int>(shape.widths.size()), {}};
    std::copy(shape.widths.begin(), shape.widths.end(), out.adapters.widths.begin());
    return out;
  }
  /// Elements that are further from the formula than its roundings allow; tells the first.
  int count_far(RandomMatrix<T>& got) {
    const double step = std::is_same_v<T, float> ? 0x1p-23 : std::is_same_v<T, bf16> ? 0x1p-8 : 0x1p-11;
    int far = 0;
    for (int n = 0; n < shape.rows; ++n) {
      const std::vector<Sum> t = inner(n);
      for (int o = 0; o < outputs; ++o) {
        const double base = to_f32(y(n, o));
        Sum want{base, std::fabs(base)};
        if (!t.empty()) add(n, o, t, want);
        const double bound =
            t.empty() ? 0 : step * std::fabs(want.value) + (step + 4 * shape.columns * 0x1p-24) * want.terms;
        if (std::fabs(to_f32(got(n, o)) - want.value) <= bound) continue;
        if (far++ == 0)
          UNSCOPED_INFO("(" << n << ", " << o << "): got " << to_f32(got(n, o)) << ", want " << want.value);
      }
    }
    return far;
  }

 private:
  struct Sum {
    double value = 0, terms = 0;  ///< the sum, and that of its terms' magnitudes
    void add(double term, double size) { value += term, terms += size; }
  };
  int parts() const { return static_cast<int>(shape.widths.size()); }
  int slot(int n) const { return slots[static_cast<std::size_t>(n * shape.slot_stride)]; }
  /// A x of row n, all parts; empty if it has no adapter.
  std::vector<Sum> inner(int n) {
    std::vector<Sum> t;
    for (int r = 0; slot(n) >= 0 && r < parts() * shape.rank; ++r) {
      t.emplace_back();
      for (int i = 0; i < shape.columns; ++i) {
        const double term = double{to_f32(a(slot(n) * parts() * shape.rank + r, i))} * to_f32(x(n, i));
        t.back().add(term, std::fabs(term));
      }
    }
    return t;
  }
  void add(int n, int o, const std::vector<Sum>& t, Sum& to) {
    int part = 0;
    for (int end = shape.widths[0]; o >= end; end += shape.widths[static_cast<std::size_t>(part)]) ++part;
    for (int r = 0; r < shape.rank; ++r) {
      const double weight = to_f32(b(slot(n) * outputs + o, r));
      const Sum& inner = t[static_cast<std::size_t>(part * shape.rank + r)];
      to.add(weight * inner.value, std::fabs(weight) * inner.terms);
    }
  }
};

}  // namespace lamina::test
