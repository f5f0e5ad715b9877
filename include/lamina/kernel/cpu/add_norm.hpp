#pragma once
#include <cmath>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/add_norm.hpp>
#include <lamina/kernel/cpu/layer_norm.hpp>
#include <lamina/kernel/cpu/rms_norm.hpp>

template <>
struct lamina::kernel::add_rms_norm<lamina::Cpu> {
  template <class T, int D>
  static void forward(Stream<Cpu>, AddRMSNormFwd<T, D> a, float eps) {
    parallel_for(a.x.extent(0), [=](std::int64_t n) {
#pragma omp simd
      for (int i = 0; i < D; ++i) a.s(n, i) = round_to<T>(to_f32(a.s(n, i)) + to_f32(a.x(n, i)));
      float sum_sq = 0;
#pragma omp simd reduction(+ : sum_sq)
      for (int i = 0; i < D; ++i) sum_sq += to_f32(a.s(n, i)) * to_f32(a.s(n, i));
      const float r = 1 / std::sqrt(sum_sq / D + eps);
      if (a.r) a.r[n] = r;
#pragma omp simd
      for (int i = 0; i < D; ++i) a.y(n, i) = round_to<T>(to_f32(a.g(i)) * (to_f32(a.s(n, i)) * r));
    });
  }
  template <class T, int D>
  static void backward(Stream<Cpu> stream, AddRMSNormBwd<T, D> a) {
    if (a.dg)
      rms_norm<Cpu>::backward(stream, RMSNormBwd<T, D>{.x = a.x, .g = a.g, .r = a.r, .dy = a.dy, .dx = {}, .dg = a.dg});
    if (!a.dx) return;
    parallel_for(a.x.extent(0), [=](std::int64_t n) {
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int i = 0; i < D; ++i) dot += to_f32(a.g(i)) * to_f32(a.dy(n, i)) * to_f32(a.x(n, i));
      const float r = a.r[n], c = r * r * dot / D;
#pragma omp simd
      for (int i = 0; i < D; ++i)
        a.dx(n, i) =
            round_to<T>(to_f32(a.residual(n, i)) + r * (to_f32(a.g(i)) * to_f32(a.dy(n, i)) - to_f32(a.x(n, i)) * c));
    });
  }
};

template <>
struct lamina::kernel::add_layer_norm<lamina::Cpu> {
  template <class T, int D>
  static void forward(Stream<Cpu>, AddLayerNormFwd<T, D> a, float eps) {
    parallel_for(a.x.extent(0), [=](std::int64_t n) {
      float sum = 0, sum_sq = 0;
#pragma omp simd
      for (int i = 0; i < D; ++i) a.s(n, i) = round_to<T>(to_f32(a.s(n, i)) + to_f32(a.x(n, i)));
#pragma omp simd reduction(+ : sum)
      for (int i = 0; i < D; ++i) sum += to_f32(a.s(n, i));
      const float mean = sum / D;
#pragma omp simd reduction(+ : sum_sq)
      for (int i = 0; i < D; ++i) sum_sq += (to_f32(a.s(n, i)) - mean) * (to_f32(a.s(n, i)) - mean);
      const float r = 1 / std::sqrt(sum_sq / D + eps);
      if (a.r) a.mean[n] = mean, a.r[n] = r;
#pragma omp simd
      for (int i = 0; i < D; ++i)
        a.y(n, i) = round_to<T>((to_f32(a.s(n, i)) - mean) * r * to_f32(a.g(i)) + to_f32(a.b(i)));
    });
  }
  template <class T, int D>
  static void backward(Stream<Cpu> stream, AddLayerNormBwd<T, D> a) {
    if (a.dg)
      layer_norm<Cpu>::backward(
          stream, LayerNormBwd<T, D>{
                      .x = a.x, .g = a.g, .mean = a.mean, .r = a.r, .dy = a.dy, .dx = {}, .dg = a.dg, .db = a.db});
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
        a.dx(n, i) =
            round_to<T>(to_f32(a.residual(n, i)) + r * (to_f32(a.g(i)) * to_f32(a.dy(n, i)) - sum / D - h * dot / D));
      }
    });
  }
};
