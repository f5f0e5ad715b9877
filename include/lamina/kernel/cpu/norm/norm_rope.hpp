#pragma once
#include <cmath>

#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/arrays.hpp>
#include <lamina/kernel/norm/norm_rope.hpp>

template <>
struct lamina::kernel::norm_rope<lamina::Cpu> {
  static constexpr int max_head_dim = 256;

  template <class T>
  static void forward(Stream<Cpu> s, const NormRopeFwd<T>& q, const NormRopeFwd<T>& k) {
    forward(s, q);
    forward(s, k);
  }
  template <class T>
  static void forward(Stream<Cpu>, const NormRopeFwd<T>& a);
  template <class T>
  static void backward(Stream<Cpu>, const NormRopeBwd<T>& a);

 private:
  using Head = Eigen::Array<float, Eigen::Dynamic, 1, 0, max_head_dim, 1>;
  template <class E>
  static float inverse_rms(const E& x, float eps) {
    return 1 / std::sqrt(x.square().mean() + eps);
  }
  /// The gradient of h: dy turned by the opposite angle.
  template <class T>
  static Head unrotate(const NormRopeBwd<T>& a, std::int64_t n, int head) {
    const int half = a.head_dim / 2;
    const auto dy = array_of(a.dy.row(n) + head * a.head_dim, a.head_dim);
    const auto cos = array_of(a.cos, n), sin = array_of(a.sin, n);
    Head dh(a.head_dim);
    dh << dy.head(half) * cos + dy.tail(half) * sin, dy.tail(half) * cos - dy.head(half) * sin;
    return dh;
  }
  template <class T>  // in order of rows and heads, on one thread: Dh numbers in all
  static void gain_gradient(const NormRopeBwd<T>& a) {
    MutableArray dg(a.dg, a.head_dim);
    for (int n = 0; n < a.x.rows; ++n)
      for (int head = 0; head < a.x.cols / a.head_dim; ++head) {
        const auto x = array_of(a.x.row(n) + head * a.head_dim, a.head_dim);
        dg += unrotate(a, n, head) * x * inverse_rms(x, a.eps);
      }
  }
};

template <class T>
void lamina::kernel::norm_rope<lamina::Cpu>::forward(Stream<Cpu>, const NormRopeFwd<T>& a) {
  const int half = a.head_dim / 2;
  const auto g = array_of(a.g, a.g ? a.head_dim : 0);
  parallel_for(a.x.rows, [&](std::int64_t n) {
    const auto cos = array_of(a.cos, n), sin = array_of(a.sin, n);
    for (int first = 0; first < a.x.cols; first += a.head_dim) {
      Head h = array_of(a.x.row(n) + first, a.head_dim);
      if (a.g) h = g * (h * inverse_rms(h, a.eps));
      store(a.y.row(n) + first, h.head(half) * cos - h.tail(half) * sin);
      store(a.y.row(n) + first + half, h.tail(half) * cos + h.head(half) * sin);
    }
  });
}

/// With z = x r:  dx = r (g dh - z mean(g dh z))
template <class T>
void lamina::kernel::norm_rope<lamina::Cpu>::backward(Stream<Cpu>, const NormRopeBwd<T>& a) {
  if (a.dg) gain_gradient(a);
  const auto g = array_of(a.g, a.g ? a.head_dim : 0);
  parallel_for(a.x.rows, [&](std::int64_t n) {
    for (int head = 0; head < a.x.cols / a.head_dim; ++head) {
      const Head dh = unrotate(a, n, head);
      T* const dx = a.dx.row(n) + head * a.head_dim;
      if (!a.g) {
        store(dx, dh);
        continue;
      }
      const auto x = array_of(a.x.row(n) + head * a.head_dim, a.head_dim);
      const float r = inverse_rms(x, a.eps), mean = (g * dh * x * r).mean();
      store(dx, r * (g * dh - x * r * mean));
    }
  });
}
