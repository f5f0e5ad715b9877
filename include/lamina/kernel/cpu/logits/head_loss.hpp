#pragma once
#include <algorithm>
#include <cmath>

#include <lamina/kernel/cpu/attention/softmax.hpp>
#include <lamina/kernel/cpu/matmul/matmul.hpp>
#include <lamina/kernel/logits/head_loss.hpp>

/// Rows are taken in chunks whose logits fit 64 MB, so memory does not grow with the batch; within a chunk the
/// logits become their own gradient in place.
template <>
struct lamina::kernel::head_loss<lamina::Cpu> {
  static constexpr std::int64_t workspace_bytes = 64 << 20;

  template <class T>
  static void run(Stream<Cpu> s, const HeadLoss<T>& a);

 private:
  struct Logits {};

  static void run_rows(Stream<Cpu> s, const HeadLoss<float>& a, int first, int rows) {
    const int vocab = a.w.rows;
    const Matrix<float> z(detail::scratch<Logits>(static_cast<std::size_t>(rows) * vocab), rows, vocab);
    const auto x = a.x.row_range(first, rows);
    matmul<Cpu>::forward(s, MatmulFwd<float>{.x = x, .w = a.w, .y = z});
    const bool backward = a.dx || a.dw;
    parallel_for(rows, [&](std::int64_t i) {
      const int m = first + static_cast<int>(i);
      float* const row = z.row(static_cast<int>(i));
      if (a.mean_logit) a.mean_logit[m] = static_cast<float>(sum_of(row, vocab) / vocab);
      if (a.hit) a.hit[m] = std::max_element(row, row + vocab) == row + a.target[m] ? 1 : 0;
      a.nll[m] = softmax_loss(row, vocab, a.target[m], backward ? a.weight + m : nullptr, a.loss);
    });
    if (a.dx)
      matmul<Cpu>::backward_input(s, MatmulBwdInput<float>{.dy = z, .w = a.w, .dx = a.dx.row_range(first, rows)});
    if (a.dw) matmul<Cpu>::backward_weight(s, MatmulBwdWeight<float>{.dy = z, .x = x, .dw = a.dw});
  }

  static double sum_of(const float* z, int vocab) {
    double sum = 0;
    for (int v = 0; v < vocab; ++v) sum += static_cast<double>(z[v]);
    return sum;
  }

  /// Returns the row's loss; if a weight is given, turns its logits into dz.
  static float softmax_loss(float* z, int vocab, int target, const float* weight, const TokenLoss& how) {
    const float top = detail::row_max(z, vocab), at_target = z[target];
    const double sum_z = how.smoothing > 0 ? sum_of(z, vocab) : 0;
    double sum = 0;  // one fp32 sum over 150 thousand entries would lose digits
    for (int v = 0; v < vocab; v += 1024) sum += detail::exp_row(z + v, std::min(1024, vocab - v), top);
    const float log_sum = top + static_cast<float>(std::log(sum)), nll = log_sum - at_target,
                probability = how.by_probability ? std::exp(-nll) : 1;
    if (weight) {
      const float w = *weight * probability, factor = static_cast<float>(static_cast<double>(w) / sum),
                  spread = w * how.smoothing / static_cast<float>(vocab);
      for (int v = 0; v < vocab; ++v) z[v] = z[v] * factor - spread;
      z[target] -= w * (1 - how.smoothing);
    }
    if (how.smoothing == 0) return probability * nll;
    const auto mean = static_cast<float>(static_cast<double>(log_sum) - sum_z / vocab);
    return (1 - how.smoothing) * nll + how.smoothing * mean;
  }
};

template <class T>
void lamina::kernel::head_loss<lamina::Cpu>::run(Stream<Cpu> s, const HeadLoss<T>& a) {
  detail::expect_weight("head_loss", a.w);
  detail::expect_shape("head_loss", "x", a.x.rows, a.x.cols, a.x.rows, a.w.cols);
  if (a.dx) detail::expect_shape("head_loss", "dx", a.dx.rows, a.dx.cols, a.x.rows, a.x.cols);
  if (a.dw) detail::expect_shape("head_loss", "dw", a.dw.rows, a.dw.cols, a.w.rows, a.w.cols);
  for (int m = 0; m < a.x.rows; ++m) {
    if (a.target[m] < 0 || a.target[m] >= a.w.rows) {
      fail("head_loss: target ", a.target[m], " of row ", m, " is outside the vocabulary of ", a.w.rows);
    }
  }
  if constexpr (std::is_same_v<T, float>) {
    const int chunk = static_cast<int>(std::clamp<std::int64_t>(workspace_bytes / 4 / a.w.rows, 1, 1 << 20));
    for (int m = 0; m < a.x.rows; m += chunk) run_rows(s, a, m, std::min(chunk, a.x.rows - m));
  } else {
    plain::head_loss(a);
  }
}
