#pragma once
#include <lamina/kernel/matmul/grouped_matmul.hpp>

#include <numeric>

#include "kernel/random_matrix.hpp"

/// Random rows in groups, with a matrix for each, and how far a kernel's results are from the formulas in double.
namespace lamina::test {

struct GroupedShape {
  std::vector<int> rows;  ///< of each group
  int inputs, outputs;
};
inline const GroupedShape grouped_shapes[] = {
    {{1}, 8, 8}, {{0, 3, 0, 70, 1, 0}, 40, 24}, {{64, 128, 63, 65}, 72, 136}, {{5, 0, 9}, 33, 7}};

template <class T, class W = T>
struct GroupedProblem {
  GroupedShape shape;
  std::vector<int> ends, group_of;
  RandomMatrix<T> x, dy, bias;
  RandomMatrix<W> w;
  RandomMatrix<float> dw;  ///< what gradients are added to

  explicit GroupedProblem(const GroupedShape& s, int gap)
      : shape(s),
        ends(s.rows.size()),
        x(std::accumulate(s.rows.begin(), s.rows.end(), 0), s.inputs, 1, gap),
        dy(x.rows, s.outputs, 2, gap),
        bias(groups(), s.outputs, 3, gap),
        w(groups() * s.outputs, s.inputs, 4, gap),
        dw(groups() * s.outputs, s.inputs, 5, 0) {
    std::partial_sum(s.rows.begin(), s.rows.end(), ends.begin());
    for (int g = 0; g < groups(); ++g) group_of.insert(group_of.end(), static_cast<std::size_t>(s.rows[g]), g);
  }
  int groups() const { return static_cast<int>(shape.rows.size()); }

  /// From the values' own memory, or the places of a copy of them.
  kernel::GroupedFwd<T> forward(Matrix<const T> x_, Weight all, const T* biases, const int* ends_, Matrix<T> y) const {
    return {.product = {.x = x_, .w = first(all), .bias = biases, .y = y, .alpha = 2, .beta = 0.5f},
            .groups = {ends_, groups()},
            .step = {.bytes = step(all)},
            .bias_step = bias.stride * static_cast<std::ptrdiff_t>(sizeof(T))};
  }
  kernel::GroupedBwdInput<T> backward_input(Matrix<const T> dy_, Weight all, const int* ends_, Matrix<T> dx) const {
    return {
        .product = {.dy = dy_, .w = first(all), .dx = dx}, .groups = {ends_, groups()}, .step = {.bytes = step(all)}};
  }
  /// db: (groups) rows of bias's width.
  kernel::GroupedBwdWeight<T> backward_weight(Matrix<const T> dy_, Matrix<const T> x_, const int* ends_,
                                              Matrix<float> all, float* db) const {
    return {.product = {.dy = dy_, .x = x_, .dw = all.row_range(0, shape.outputs), .db = db, .alpha = 2},
            .groups = {ends_, groups()},
            .step = shape.outputs * all.stride * static_cast<std::ptrdiff_t>(sizeof(float)),
            .bias_step = shape.outputs * static_cast<std::ptrdiff_t>(sizeof(float))};
  }

  int wrong_forward(RandomMatrix<T>& got, RandomMatrix<T>& before) {
    return count_wrong(got, shape.inputs, [&](int r, int n, auto add) {
      add(0.5 * to_f32(before(r, n))), add(to_f32(bias(group_of[r], n)));
      for (int i = 0; i < shape.inputs; ++i) add(2.0 * to_f32(x(r, i)) * matrix(group_of[r], n, i));
    });
  }
  int wrong_backward_input(RandomMatrix<T>& got) {
    return count_wrong(got, shape.outputs, [&](int r, int i, auto add) {
      for (int n = 0; n < shape.outputs; ++n) add(double{to_f32(dy(r, n))} * matrix(group_of[r], n, i));
    });
  }
  int wrong_backward_weight(RandomMatrix<float>& got) {
    return count_wrong(got, x.rows, [&](int row, int i, auto add) {
      add(dw(row, i));
      each_row(row / shape.outputs, [&](int r) { add(2.0 * to_f32(dy(r, row % shape.outputs)) * to_f32(x(r, i))); });
    });
  }
  /// Of column sums that were added to zeros.
  int wrong_bias(RandomMatrix<float>& got) {
    return count_wrong(got, x.rows,
                       [&](int g, int n, auto add) { each_row(g, [&](int r) { add(to_f32(dy(r, n))); }); });
  }

 private:
  Weight first(Weight all) const {
    all.rows = shape.outputs;
    return all;
  }
  std::ptrdiff_t step(const Weight& all) const {
    return shape.outputs * all.stride * static_cast<std::ptrdiff_t>(sizeof(W));
  }
  /// As a kernel of T sees it.
  double matrix(int g, int n, int i) { return to_f32(round_to<T>(to_f32(w(g * shape.outputs + n, i)))); }
  template <class F>
  void each_row(int g, F f) const {
    for (int r = g == 0 ? 0 : ends[g - 1]; r < ends[g]; ++r) f(r);
  }
  /// Elements further from the sum of terms(row, column, add) than rounding allows: of the terms, and of the result.
  template <class U, class F>
  int count_wrong(RandomMatrix<U>& got, int length, F terms) {
    int wrong = 0;
    for (int r = 0; r < got.rows; ++r)
      for (int c = 0; c < got.cols; ++c) {
        double sum = 0, magnitude = 0;
        terms(r, c, [&](double term) { sum += term, magnitude += std::fabs(term); });
        const double last = std::is_same_v<U, float> ? 0x1p-24 : std::is_same_v<U, bf16> ? 0x1p-8 : 0x1p-11;
        wrong +=
            !(std::fabs(to_f32(got(r, c)) - sum) <= 2 * sum_tolerance(length) * magnitude + 2 * last * std::fabs(sum));
      }
    return wrong;
  }
};

}  // namespace lamina::test
