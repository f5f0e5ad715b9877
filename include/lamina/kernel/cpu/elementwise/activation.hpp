#pragma once
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/attention/softmax.hpp>
#include <lamina/kernel/elementwise/activation.hpp>

namespace lamina::kernel::detail {

// Written so that compilers turn them into vectors: no branch, no call that they cannot see into.

/// s = 1 / (1 + exp(-x)) and its slope s (1 - s); the exponent is never positive, so nothing overflows or cancels.
struct Sigmoid {
  float value, slope;
};
inline Sigmoid sigmoid(float x) {
  const float e = fast_exp(x < 0 ? x : -x), d = 1 / (1 + e);
  return {x < 0 ? e * d : d, e * d * d};
}
/// The normal distribution's Phi(x) and its density. erf by Abramowitz & Stegun 7.1.26: within 1.5e-7, so Phi within
/// 8e-8.
struct Normal {
  float cumulative, density;
};
inline Normal normal(float x) {
  const float z = (x < 0 ? -x : x) * 0.70710678118654752f, gauss = fast_exp(-z * z);
  const float t = 1 / (1 + 0.3275911f * z);
  float p = 1.061405429f;
  p = p * t - 1.453152027f, p = p * t + 1.421413741f, p = p * t - 0.284496736f, p = p * t + 0.254829592f;
  const float tail = 0.5f * p * t * gauss;  // Phi(-|x|)
  return {x < 0 ? tail : 1 - tail, gauss * 0.39894228040143268f};
}

inline float apply(GeluErf, float x) { return x * normal(x).cumulative; }
inline float derivative(GeluErf, float x) {
  const Normal n = normal(x);
  return n.cumulative + x * n.density;
}
/// (1 + tanh u) / 2 is sigmoid(2u), without the cancellation.
inline float apply(GeluTanh, float x) { return x * sigmoid(1.5957691216057308f * (x + 0.044715f * x * x * x)).value; }
inline float derivative(GeluTanh, float x) {
  const Sigmoid s = sigmoid(1.5957691216057308f * (x + 0.044715f * x * x * x));
  return s.value + x * s.slope * 1.5957691216057308f * (1 + 3 * 0.044715f * x * x);
}

}  // namespace lamina::kernel::detail

template <>
struct lamina::kernel::activation<lamina::Cpu> {
  template <class F, class T>
  static void forward(Stream<Cpu>, F f, const ActivationFwd<T>& a);
  template <class F, class T>
  static void backward(Stream<Cpu>, F f, const ActivationBwd<T>& a);
};

template <class F, class T>
void lamina::kernel::activation<lamina::Cpu>::forward(Stream<Cpu>, F f, const ActivationFwd<T>& a) {
  parallel_for(a.x.rows, [=](std::int64_t n) {
    const T* x = a.x.row(n);
    T* y = a.y.row(n);
    const int D = a.x.cols;
#pragma omp simd
    for (int i = 0; i < D; ++i) y[i] = round_to<T>(detail::apply(f, to_f32(x[i])));
  });
}
template <class F, class T>
void lamina::kernel::activation<lamina::Cpu>::backward(Stream<Cpu>, F f, const ActivationBwd<T>& a) {
  parallel_for(a.x.rows, [=](std::int64_t n) {
    const T *x = a.x.row(n), *dy = a.dy.row(n);
    T* dx = a.dx.row(n);
    const int D = a.x.cols;
#pragma omp simd
    for (int i = 0; i < D; ++i) dx[i] = round_to<T>(to_f32(dy[i]) * detail::derivative(f, to_f32(x[i])));
  });
}

template <>
struct lamina::kernel::silu_gate<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu>, const SiluGateFwd<T>& a);
  template <class T>
  static void backward(Stream<Cpu>, const SiluGateBwd<T>& a);
};

template <class T>
void lamina::kernel::silu_gate<lamina::Cpu>::forward(Stream<Cpu>, const SiluGateFwd<T>& a) {
  parallel_for(a.x.rows, [=](std::int64_t n) {
    const int F = a.y.cols;
    const T *gate = a.x.row(n), *up = gate + F;
    T* y = a.y.row(n);
#pragma omp simd
    for (int i = 0; i < F; ++i)
      y[i] = round_to<T>(to_f32(gate[i]) * detail::sigmoid(to_f32(gate[i])).value * to_f32(up[i]));
  });
}
template <class T>
void lamina::kernel::silu_gate<lamina::Cpu>::backward(Stream<Cpu>, const SiluGateBwd<T>& a) {
  parallel_for(a.x.rows, [=](std::int64_t n) {
    const int F = a.dy.cols;
    const T *gate = a.x.row(n), *up = gate + F, *dy = a.dy.row(n);
    T *dgate = a.dx.row(n), *dup = dgate + F;
#pragma omp simd
    for (int i = 0; i < F; ++i) {
      const float g = to_f32(gate[i]), d = to_f32(dy[i]);
      const detail::Sigmoid s = detail::sigmoid(g);
      const float dg = d * to_f32(up[i]) * (s.value + g * s.slope);
      dup[i] = round_to<T>(d * g * s.value);
      dgate[i] = round_to<T>(dg);
    }
  });
}
