#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// Per-head RMS norm, then rotary position embedding in half form, for the heads of q or of k:
///
///     h[d]        = g[d] * x[d] / sqrt(mean_d x[d]^2 + eps)        (h = x if there is no norm: g null)
///     y[d]        = h[d] cos[d] - h[d + Dh/2] sin[d]               d < Dh/2
///     y[d + Dh/2] = h[d + Dh/2] cos[d] + h[d] sin[d]
///
/// x, y (N, heads * Dh), rows may be strided; cos, sin (N, Dh/2) fp32; g (Dh).
/// source      Su et al. 2021, arXiv:2104.09864; backward rotates by the opposite angle, then as RMSNorm
namespace lamina::kernel {

/// y may be x.
template <class T>
struct NormRopeFwd {
  Matrix<const T> x;
  const T* g = nullptr;
  Matrix<const float> cos, sin;
  Matrix<T> y;
  int head_dim = 0;
  float eps = 0;
};
/// dx may be dy; dg (Dh) may be null, else it is added to.
template <class T>
struct NormRopeBwd {
  Matrix<const T> x;
  const T* g = nullptr;
  Matrix<const float> cos, sin;
  Matrix<const T> dy;
  Matrix<T> dx;
  float* dg = nullptr;
  int head_dim = 0;
  float eps = 0;
};

template <class B>
struct norm_rope {
  static void forward(auto...) { no_kernels<B>(); }  // of one tensor; of q and k of the same tokens, in one launch
  static void backward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
