#pragma once
#include <cmath>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/optimizer.hpp>

template <>
struct lamina::kernel::optimizer<lamina::Cpu> {
  static void clip(Stream<Cpu>, const ClipGradients& a) {
    double sum_sq = 0;
    for (std::size_t i = 0; i < a.n; ++i) sum_sq += static_cast<double>(a.g[i]) * static_cast<double>(a.g[i]);
    a.clip->norm = std::sqrt(sum_sq);
    a.clip->scale = std::isfinite(a.clip->norm) ? static_cast<float>(clip_scale(a.clip->norm, a.numbers->most)) : 0;
  }
  template <class T>
  static void adamw(Stream<Cpu>, const AdamWStep<T>& a);
};

template <class T>
void lamina::kernel::optimizer<lamina::Cpu>::adamw(Stream<Cpu>, const AdamWStep<T>& a) {
  if (!std::isfinite(a.clip->norm)) return;
  parallel_for(a.count, [=, o = *a.numbers, scale = a.clip->scale](std::int64_t r) {
    const ValueRun<T>& run = a.runs[r];
    const float decay = run.decays ? o.decay : 1.0f;
    for (int k = 0; k < run.count; ++k) {
      const std::size_t i = run.first + static_cast<std::size_t>(k);
      const float grad = a.g[i] * scale;
      a.m[i] = o.b1 * a.m[i] + o.rest1 * grad;
      a.v[i] = o.b2 * a.v[i] + o.rest2 * grad * grad;
      a.w[i] = a.w[i] * decay - o.step_size * a.m[i] / (std::sqrt(a.v[i]) / o.v_correction + o.eps);
      a.g[i] = 0;
      if (run.to) *run.copy(k) = round_to<T>(run.scale * a.w[i]);
    }
  });
}
