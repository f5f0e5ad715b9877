#pragma once
#include <lamina/kernel/rows/route.hpp>

#include <algorithm>
#include <array>

#include "kernel/random_matrix.hpp"

/// Rows that are sent to experts, with the tables of a choice written by hand.
namespace lamina::test {

template <class T>
struct RouteProblem {
  int rows, experts, k, width;
  RandomMatrix<T> logits, x;            ///< (N, n); (N, D)
  RandomMatrix<T> sorted;               ///< (N k, D)
  std::vector<int> expert, place;       ///< (N, k) the largest logits; where they are among sorted rows
  std::vector<int> source, ends;        ///< (N k), (n)
  std::vector<double> p;                ///< (N, n) softmax
  RandomMatrix<float> weight, dweight;  ///< (N, k), any numbers

  RouteProblem(int rows_, int experts_, int k_, int width_, int gap)
      : rows(rows_),
        experts(experts_),
        k(k_),
        width(width_),
        logits(rows, experts, 1, gap),
        x(rows, width, 2, gap),
        sorted(rows * k, width, 3, gap),
        weight(rows, k, 4, 0),
        dweight(rows, k, 5, 0) {
    for (int r = 0; r < rows; ++r) choose(r);
    sort();
  }
  double probability(int r, int c) const { return p[r * experts + expert[r * k + c]]; }
  double chosen(int r) const {
    double sum = 0;
    for (int c = 0; c < k; ++c) sum += probability(r, c);
    return sum;
  }
  /// Two micro-batches.
  std::vector<int> cu_parts() const { return {0, rows / 3, rows}; }
  int part_of(int r) const { return r < rows / 3 ? 0 : 1; }
  /// How many rows of a part chose expert e, and the sum of their probabilities of it.
  std::array<double, 2> sums(int part, int e) const {
    std::array<double, 2> sum{};
    for (int r = cu_parts()[part]; r < cu_parts()[part + 1]; ++r) {
      for (int c = 0; c < k; ++c) sum[0] += expert[r * k + c] == e;
      sum[1] += p[r * experts + e];
    }
    return sum;
  }
  /// What the loss of balance, times 1, adds to dlogits(r, e).
  double balance(int r, int e) const {
    const int part = part_of(r), length = cu_parts()[part + 1] - cu_parts()[part];
    const auto slope = [&](int i) { return experts * sums(part, i)[0] / (double{1} * length * length); };
    double mean = 0;
    for (int i = 0; i < experts; ++i) mean += slope(i) * p[r * experts + i];
    return p[r * experts + e] * (slope(e) - mean);
  }
  /// dlogits(r, e) if weights are those of the choice and dweight is their gradient.
  double dlogit(int r, int e, bool normalised) {
    double mean = 0, dot = 0, own = 0;
    const auto dw = [&](int c) { return double{dweight(r, c)}; };
    for (int c = 0; normalised && c < k; ++c) mean += dw(c) * probability(r, c) / chosen(r);
    for (int c = 0; c < k; ++c) {
      const double dp = normalised ? (dw(c) - mean) / chosen(r) : dw(c);
      dot += dp * probability(r, c);
      if (expert[r * k + c] == e) own = dp;
    }
    return p[r * experts + e] * (own - dot);
  }

 private:
  void choose(int r) {
    std::vector<int> order(static_cast<std::size_t>(experts));
    for (int e = 0; e < experts; ++e) order[e] = e;
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return to_f32(logits(r, a)) > to_f32(logits(r, b)); });
    expert.insert(expert.end(), order.begin(), order.begin() + k);
    double sum = 0;
    for (int e = 0; e < experts; ++e) sum += std::exp(double{to_f32(logits(r, e))});
    for (int e = 0; e < experts; ++e) p.push_back(std::exp(double{to_f32(logits(r, e))}) / sum);
  }
  void sort() {
    place.resize(expert.size());
    for (int e = 0; e < experts; ++e) {
      for (std::size_t i = 0; i < expert.size(); ++i)
        if (expert[i] == e) place[i] = static_cast<int>(source.size()), source.push_back(static_cast<int>(i) / k);
      ends.push_back(static_cast<int>(source.size()));
    }
  }
};

inline constexpr std::array<int, 4> route_sizes[] = {{1, 4, 1, 8}, {37, 8, 3, 20}, {300, 128, 8, 64}};

}  // namespace lamina::test
