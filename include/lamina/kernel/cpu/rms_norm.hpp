#pragma once
#include <cmath>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/rms_norm.hpp>

template <>
struct lamina::kernel::rms_norm<lamina::Cpu> {
  template <class T, int D>
  static void forward(Stream<Cpu>, RMSNormFwd<T, D> a, float eps) {
    parallel_for(a.x.extent(0), [=](std::int64_t n) {
      float sum_sq = 0;
#pragma omp simd reduction(+ : sum_sq)
      for (int i = 0; i < D; ++i) sum_sq += to_f32(a.x(n, i)) * to_f32(a.x(n, i));
      const float r = 1 / std::sqrt(sum_sq / D + eps);
      if (a.r) a.r[n] = r;
#pragma omp simd
      for (int i = 0; i < D; ++i) a.y(n, i) = round_to<T>(to_f32(a.g(i)) * (to_f32(a.x(n, i)) * r));
    });
  }
  template <class T, int D>  // dx = r * (g*dy - x * r^2 * mean_i(g*dy*x)),   dg += sum_n dy*x*r
  static void backward(Stream<Cpu>, RMSNormBwd<T, D> a) {
    if (a.dg) gain_gradient(a);
    if (!a.dx) return;
    parallel_for(a.x.extent(0), [=](std::int64_t n) {
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int i = 0; i < D; ++i) dot += to_f32(a.g(i)) * to_f32(a.dy(n, i)) * to_f32(a.x(n, i));
      const float r = a.r[n], c = r * r * dot / D;
#pragma omp simd
      for (int i = 0; i < D; ++i)
        a.dx(n, i) = round_to<T>(r * (to_f32(a.g(i)) * to_f32(a.dy(n, i)) - to_f32(a.x(n, i)) * c));
    });
  }

 private:
  template <class T, int D>  // one thread owns a run of columns, so rows add up in one order
  static void gain_gradient(RMSNormBwd<T, D> a) {
    constexpr int block = 64;
    parallel_for((D + block - 1) / block, [=](std::int64_t b) {
      const int first = static_cast<int>(b) * block, last = first + block < D ? first + block : D;
      for (int n = 0; n < a.x.extent(0); ++n)
#pragma omp simd
        for (int i = first; i < last; ++i) a.dg[i] += to_f32(a.dy(n, i)) * to_f32(a.x(n, i)) * a.r[n];
    });
  }
};
