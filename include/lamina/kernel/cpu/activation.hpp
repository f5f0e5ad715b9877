#pragma once
#include <cmath>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/activation.hpp>

namespace lamina::kernel::detail {

inline float apply(GeluErf, float x) { return 0.5f * x * (1 + std::erf(x * 0.70710678118654752f)); }
inline float derivative(GeluErf, float x) {
  return 0.5f * (1 + std::erf(x * 0.70710678118654752f)) + x * 0.39894228040143268f * std::exp(-0.5f * x * x);
}
inline float apply(GeluTanh, float x) {
  return 0.5f * x * (1 + std::tanh(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}
inline float derivative(GeluTanh, float x) {
  const float t = std::tanh(0.79788456080286536f * (x + 0.044715f * x * x * x));
  return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * 0.79788456080286536f * (1 + 3 * 0.044715f * x * x);
}

}  // namespace lamina::kernel::detail

template <>
struct lamina::kernel::activation<lamina::Cpu> {
  template <class F, class T>
  static void forward(Stream<Cpu>, F f, ActivationFwd<T> a) {
    parallel_for(a.x.rows, [=](std::int64_t n) {
      for (int i = 0; i < a.x.cols; ++i) a.y(n, i) = round_to<T>(detail::apply(f, to_f32(a.x(n, i))));
    });
  }
  template <class F, class T>
  static void backward(Stream<Cpu>, F f, ActivationBwd<T> a) {
    parallel_for(a.x.rows, [=](std::int64_t n) {
      for (int i = 0; i < a.x.cols; ++i)
        a.dx(n, i) = round_to<T>(to_f32(a.dy(n, i)) * detail::derivative(f, to_f32(a.x(n, i))));
    });
  }
};

template <>
struct lamina::kernel::silu_gate<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, SiluGateFwd<T> a) {
    const int F = a.y.cols;
    parallel_for(a.x.rows, [=](std::int64_t n) {
      for (int i = 0; i < F; ++i) {
        const float gate = to_f32(a.x(n, i)), up = to_f32(a.x(n, F + i));
        a.y(n, i) = round_to<T>(gate / (1 + std::exp(-gate)) * up);
      }
    });
  }
  template <class T>
  static void backward(Stream<Cpu>, SiluGateBwd<T> a) {
    const int F = a.dy.cols;
    parallel_for(a.x.rows, [=](std::int64_t n) {
      for (int i = 0; i < F; ++i) {
        const float gate = to_f32(a.x(n, i)), up = to_f32(a.x(n, F + i)), dy = to_f32(a.dy(n, i));
        const float s = 1 / (1 + std::exp(-gate));
        a.dx(n, i) = round_to<T>(dy * up * s * (1 + gate * (1 - s)));
        a.dx(n, F + i) = round_to<T>(dy * gate * s);
      }
    });
  }
};
