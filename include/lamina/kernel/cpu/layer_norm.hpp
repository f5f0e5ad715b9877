#pragma once
#include <cmath>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/layer_norm.hpp>

template <>
struct lamina::kernel::layer_norm<lamina::Cpu> {
  template <class T, int D>
  static void forward(Stream<Cpu>, LayerNormFwd<T, D> a, float eps) {
    parallel_for(a.x.extent(0), [=](std::int64_t n) {
      float sum = 0, sum_sq = 0;
#pragma omp simd reduction(+ : sum)
      for (int i = 0; i < D; ++i) sum += to_f32(a.x(n, i));
      const float mean = sum / D;
#pragma omp simd reduction(+ : sum_sq)
      for (int i = 0; i < D; ++i) sum_sq += (to_f32(a.x(n, i)) - mean) * (to_f32(a.x(n, i)) - mean);
      const float r = 1 / std::sqrt(sum_sq / D + eps);
      if (a.r) a.mean[n] = mean, a.r[n] = r;
#pragma omp simd
      for (int i = 0; i < D; ++i)
        a.y(n, i) = round_to<T>((to_f32(a.x(n, i)) - mean) * r * to_f32(a.g(i)) + to_f32(a.b(i)));
    });
  }
  template <class T,
            int D>  // with h = (x - mean) r:  dx = r (g dy - mean_i(g dy) - h mean_i(g dy h)),  dg += dy h,  db += dy
  static void backward(Stream<Cpu>, LayerNormBwd<T, D> a) {
    if (a.dg) affine_gradients(a);
    if (!a.dx) return;
    parallel_for(a.x.extent(0), [=](std::int64_t n) {
      const float mean = a.mean[n], r = a.r[n];
      float sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
      for (int i = 0; i < D; ++i) {
        const float gdy = to_f32(a.g(i)) * to_f32(a.dy(n, i));
        sum += gdy;
        dot += gdy * (to_f32(a.x(n, i)) - mean) * r;
      }
#pragma omp simd
      for (int i = 0; i < D; ++i) {
        const float h = (to_f32(a.x(n, i)) - mean) * r;
        a.dx(n, i) = round_to<T>(r * (to_f32(a.g(i)) * to_f32(a.dy(n, i)) - sum / D - h * dot / D));
      }
    });
  }

 private:
  template <class T, int D>  // one thread owns a run of columns, so rows add up in one order
  static void affine_gradients(LayerNormBwd<T, D> a) {
    constexpr int block = 64;
    parallel_for((D + block - 1) / block, [=](std::int64_t b) {
      const int first = static_cast<int>(b) * block, last = first + block < D ? first + block : D;
      for (int n = 0; n < a.x.extent(0); ++n)
#pragma omp simd
        for (int i = first; i < last; ++i) {
          a.dg[i] += to_f32(a.dy(n, i)) * (to_f32(a.x(n, i)) - a.mean[n]) * a.r[n];
          a.db[i] += to_f32(a.dy(n, i));
        }
    });
  }
};
