#pragma once
#include <cmath>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/norm_rope.hpp>

template <>
struct lamina::kernel::norm_rope<lamina::Cpu> {
  static constexpr int max_head_dim = 256;

  template <class T>
  static void forward(Stream<Cpu> s, NormRopeFwd<T> q, NormRopeFwd<T> k) {
    forward(s, q);
    forward(s, k);
  }
  template <class T>
  static void forward(Stream<Cpu>, NormRopeFwd<T> a);
  template <class T>
  static void backward(Stream<Cpu>, NormRopeBwd<T> a);

 private:
  template <class T>
  static float inverse_rms(const T* x, int head_dim, float eps) {
    float sum_sq = 0;
#pragma omp simd reduction(+ : sum_sq)
    for (int d = 0; d < head_dim; ++d) sum_sq += to_f32(x[d]) * to_f32(x[d]);
    return 1 / std::sqrt(sum_sq / static_cast<float>(head_dim) + eps);
  }
  template <class T>
  static float gained(const T* g, int d, float x) {
    return g ? to_f32(g[d]) * x : x;
  }
  template <class T>
  static void unrotate(const NormRopeBwd<T>& a, std::int64_t n, int head, float* dh) {
    const T* dy = a.dy.row(n) + head * a.head_dim;
    const int half = a.head_dim / 2;
    for (int d = 0; d < half; ++d) {
      const float lo = to_f32(dy[d]), hi = to_f32(dy[d + half]);
      dh[d] = lo * a.cos(n, d) + hi * a.sin(n, d);
      dh[d + half] = hi * a.cos(n, d) - lo * a.sin(n, d);
    }
  }
  template <class T>  // in order of rows and heads, on one thread: Dh numbers in all
  static void gain_gradient(const NormRopeBwd<T>& a) {
    const int heads = a.x.cols / a.head_dim;
    float dh[max_head_dim];
    for (int n = 0; n < a.x.rows; ++n)
      for (int head = 0; head < heads; ++head) {
        const T* x = a.x.row(n) + head * a.head_dim;
        const float r = inverse_rms(x, a.head_dim, a.eps);
        unrotate(a, n, head, dh);
        for (int d = 0; d < a.head_dim; ++d) a.dg[d] += dh[d] * to_f32(x[d]) * r;
      }
  }
};

template <class T>
void lamina::kernel::norm_rope<lamina::Cpu>::forward(Stream<Cpu>, NormRopeFwd<T> a) {
  const int heads = a.x.cols / a.head_dim;
  parallel_for(a.x.rows, [=](std::int64_t n) {
    for (int head = 0; head < heads; ++head) {
      const T* x = a.x.row(n) + head * a.head_dim;
      T* y = a.y.row(n) + head * a.head_dim;
      const float r = a.g ? inverse_rms(x, a.head_dim, a.eps) : 1;
      const int half = a.head_dim / 2;
      for (int d = 0; d < half; ++d) {
        const float lo = gained(a.g, d, to_f32(x[d]) * r), hi = gained(a.g, d + half, to_f32(x[d + half]) * r);
        y[d] = round_to<T>(lo * a.cos(n, d) - hi * a.sin(n, d));
        y[d + half] = round_to<T>(hi * a.cos(n, d) + lo * a.sin(n, d));
      }
    }
  });
}
template <class T>
void lamina::kernel::norm_rope<lamina::Cpu>::backward(Stream<Cpu>, NormRopeBwd<T> a) {
  if (a.dg) gain_gradient(a);
  const int heads = a.x.cols / a.head_dim;
  parallel_for(a.x.rows, [=](std::int64_t n) {
    float dh[max_head_dim];
    for (int head = 0; head < heads; ++head) {
      const T* x = a.x.row(n) + head * a.head_dim;
      T* dx = a.dx.row(n) + head * a.head_dim;
      unrotate(a, n, head, dh);
      if (!a.g) {
        for (int d = 0; d < a.head_dim; ++d) dx[d] = round_to<T>(dh[d]);
        continue;
      }
      const float r = inverse_rms(x, a.head_dim, a.eps);
      float dot = 0;
      for (int d = 0; d < a.head_dim; ++d) dot += to_f32(a.g[d]) * dh[d] * to_f32(x[d]);
      const float c = r * r * dot / static_cast<float>(a.head_dim);
      for (int d = 0; d < a.head_dim; ++d) dx[d] = round_to<T>(r * (to_f32(a.g[d]) * dh[d] - to_f32(x[d]) * c));
    }
  });
}
