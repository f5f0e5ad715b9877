#pragma once
#include <cmath>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/arrays.hpp>
#include <lamina/kernel/elementwise/optimizer.hpp>

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
  parallel_for(a.count, [&, o = *a.numbers, scale = a.clip->scale](std::int64_t i) {
    const ValueRun<T>& run = a.runs[i];
    const auto part = [&](float* p) { return MutableArray(p + run.first, run.count); };
    auto g = part(a.g), m = part(a.m), v = part(a.v), w = part(a.w);
    m = o.b1 * m + o.rest1 * (g * scale);
    v = o.b2 * v + o.rest2 * (g * scale) * (g * scale);
    const float kept = run.decays ? 1 - run.rate * (1 - o.decay) : 1.0f;
    w = w * kept - run.rate * o.step_size * m / (v.sqrt() / o.v_correction + o.eps);
    g = 0;
    for (int k = 0; run.to && k < run.count; ++k) *run.copy(k) = round_to<T>(run.scale * w[k]);
  });
}
