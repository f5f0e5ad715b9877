#pragma once
#include <algorithm>
#include <cmath>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/optimizer.hpp>

template <>
struct lamina::kernel::optimizer<lamina::Cpu> {
  static void clip(Stream<Cpu>, const ClipGradients& a) {
    double sum_sq = 0;
    for (std::size_t i = 0; i < a.n; ++i) sum_sq += static_cast<double>(a.g[i]) * static_cast<double>(a.g[i]);
    a.clip->norm = std::sqrt(sum_sq);
    a.clip->scale = std::isfinite(a.clip->norm) ? static_cast<float>(clip_scale(a.clip->norm, a.most)) : 0;
  }
  template <class T>
  static void copy_folded(Stream<Cpu>, const FoldedCopies<T>& a) {
    parallel_for(a.count, [=](std::int64_t i) {
      const FoldedCopy<T>& c = a.table[i];
      for (int r = 0; r < c.rows; ++r)
        for (int k = 0; k < c.cols; ++k) c.to[r * c.stride + k] = round_to<T>(c.scale * c.from[r * c.cols + k]);
    });
  }
  template <class T>
  static void adamw(Stream<Cpu>, const AdamWStep<T>& a) {
    if (!std::isfinite(a.clip->norm)) return;
    constexpr std::size_t block = 1 << 14;
    const float scale = a.clip->scale;
    parallel_for(static_cast<std::int64_t>((a.n + block - 1) / block), [=](std::int64_t b) {
      const std::size_t first = static_cast<std::size_t>(b) * block, last = std::min(a.n, first + block);
      for (std::size_t i = first; i < last; ++i) {
        const float grad = a.g[i] * scale;
        a.m[i] = a.b1 * a.m[i] + a.rest1 * grad;
        a.v[i] = a.b2 * a.v[i] + a.rest2 * grad * grad;
        a.w[i] = a.w[i] * (i < a.decayed ? a.decay : 1.0f) -
                 a.step_size * a.m[i] / (std::sqrt(a.v[i]) / a.v_correction + a.eps);
        a.g[i] = 0;
        if (a.copy) a.copy[i] = round_to<T>(a.w[i]);
      }
    });
  }
};
