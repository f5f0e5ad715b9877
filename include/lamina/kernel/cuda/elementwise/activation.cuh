#pragma once
#include <lamina/kernel/cuda/elementwise/activation.hpp>
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>

namespace lamina::kernel::cuda {

/// exp(x) for x <= 0 in tensors of T. The fast form errs by 2^-21 + |x| 2^-24 relatively, far below the rounding of a
/// 16-bit T; fp32 gets the exact one.
template <class T>
__device__ float exp_for(float x) {
  if constexpr (sizeof(T) == 4)
    return expf(x);
  else
    return __expf(x);
}
template <class T>
__device__ float inverse_for(float x) {
  if constexpr (sizeof(T) == 4)
    return 1 / x;
  else
    return __fdividef(1.0f, x);
}

/// s = 1 / (1 + exp(-x)) and its slope s (1 - s); the exponent is never positive, so nothing overflows or cancels.
struct Sigmoid {
  float value, slope;
};
template <class T>
__device__ Sigmoid sigmoid(float x) {
  const float e = exp_for<T>(-fabsf(x)), d = inverse_for<T>(1 + e);
  return {x < 0 ? e * d : d, e * d * d};
}
/// The normal distribution's Phi(x) and its density. erf by Abramowitz & Stegun 7.1.26: within 1.5e-7, so Phi within
/// 8e-8; the tail is formed directly, so that it does not cancel.
struct Normal {
  float cumulative, density;
};
template <class T>
__device__ Normal normal(float x) {
  const float z = fabsf(x) * 0.70710678118654752f, gauss = exp_for<T>(-z * z);
  const float t = inverse_for<T>(1 + 0.3275911f * z);
  float p = 1.061405429f;
  p = p * t - 1.453152027f, p = p * t + 1.421413741f, p = p * t - 0.284496736f, p = p * t + 0.254829592f;
  const float tail = 0.5f * p * t * gauss;  // Phi(-|x|)
  return {x < 0 ? tail : 1 - tail, gauss * 0.39894228040143268f};
}

template <class T>
__device__ float apply(GeluErf, float x) {
  return x * normal<T>(x).cumulative;
}
template <class T>
__device__ float derivative(GeluErf, float x) {
  const Normal n = normal<T>(x);
  return n.cumulative + x * n.density;
}
/// (1 + tanh u) / 2 is sigmoid(2u), without the cancellation.
template <class T>
__device__ float apply(GeluTanh, float x) {
  return x * sigmoid<T>(1.5957691216057308f * (x + 0.044715f * x * x * x)).value;
}
template <class T>
__device__ float derivative(GeluTanh, float x) {
  const Sigmoid s = sigmoid<T>(1.5957691216057308f * (x + 0.044715f * x * x * x));
  return s.value + x * s.slope * 1.5957691216057308f * (1 + 3 * 0.044715f * x * x);
}

template <class F, class T>
struct activation_fwd {
  ActivationFwd<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    float x[Each];
    load_elements(a.x.row(row) + column, x);
#pragma unroll
    for (int e = 0; e < Each; ++e) x[e] = apply<T>(F{}, x[e]);
    store_elements(a.y.row(row) + column, x);
  }
};
template <class F, class T>
struct activation_bwd {
  ActivationBwd<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    float x[Each], dy[Each];
    load_elements(a.x.row(row) + column, x);
    load_elements(a.dy.row(row) + column, dy);
#pragma unroll
    for (int e = 0; e < Each; ++e) x[e] = dy[e] * derivative<T>(F{}, x[e]);
    store_elements(a.dx.row(row) + column, x);
  }
};

template <class T>
struct silu_gate_fwd {
  SiluGateFwd<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    const T* gate_at = a.x.row(row) + column;
    float gate[Each], up[Each];
    load_elements(gate_at, gate);
    load_elements(gate_at + a.y.cols, up);
#pragma unroll
    for (int e = 0; e < Each; ++e) gate[e] *= sigmoid<T>(gate[e]).value * up[e];
    store_elements(a.y.row(row) + column, gate);
  }
};
template <class T>
struct silu_gate_bwd {
  SiluGateBwd<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    const int F = a.dy.cols;
    const T* gate_at = a.x.row(row) + column;
    float gate[Each], up[Each], dy[Each];
    load_elements(gate_at, gate);
    load_elements(gate_at + F, up);
    load_elements(a.dy.row(row) + column, dy);
#pragma unroll
    for (int e = 0; e < Each; ++e) {
      const Sigmoid s = sigmoid<T>(gate[e]);
      const float dgate = dy[e] * up[e] * (s.value + gate[e] * s.slope);
      up[e] = dy[e] * gate[e] * s.value;
      gate[e] = dgate;
    }
    T* dgate_at = a.dx.row(row) + column;
    store_elements(dgate_at, gate);
    store_elements(dgate_at + F, up);
  }
};

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class F, class T>
void activation<Cuda>::forward(Stream<Cuda> s, F, const ActivationFwd<T>& a) {
  constexpr int n = cuda::piece_elements<T>;
  const bool whole = cuda::in_pieces<n>(a.x) && cuda::in_pieces<n>(a.y);
  cuda::launch_elementwise<n>(s, a.x.rows, a.x.cols, whole, cuda::activation_fwd<F, T>{a}, "activation_fwd");
}
template <class F, class T>
void activation<Cuda>::backward(Stream<Cuda> s, F, const ActivationBwd<T>& a) {
  constexpr int n = cuda::piece_elements<T>;
  const bool whole = cuda::in_pieces<n>(a.x) && cuda::in_pieces<n>(a.dy) && cuda::in_pieces<n>(a.dx);
  cuda::launch_elementwise<n>(s, a.x.rows, a.x.cols, whole, cuda::activation_bwd<F, T>{a}, "activation_bwd");
}

template <class T>
void silu_gate<Cuda>::forward(Stream<Cuda> s, const SiluGateFwd<T>& a) {
  constexpr int n = cuda::piece_elements<T>;
  const bool whole = cuda::in_pieces<n>(a.x) && cuda::in_pieces<n>(a.y);  // gate's and up's rows then are whole too
  cuda::launch_elementwise<n>(s, a.y.rows, a.y.cols, whole, cuda::silu_gate_fwd<T>{a}, "silu_gate_fwd");
}
template <class T>
void silu_gate<Cuda>::backward(Stream<Cuda> s, const SiluGateBwd<T>& a) {
  constexpr int n = cuda::piece_elements<T>;
  const bool whole = cuda::in_pieces<n>(a.x) && cuda::in_pieces<n>(a.dy) && cuda::in_pieces<n>(a.dx);
  cuda::launch_elementwise<n>(s, a.dy.rows, a.dy.cols, whole, cuda::silu_gate_bwd<T>{a}, "silu_gate_bwd");
}

}  // namespace lamina::kernel
