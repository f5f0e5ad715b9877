#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// The magnitudes of a weight's rows apart from their directions, as DoRA trains them (layer/adapter/dora_linear.hpp).
/// M rows of tokens, K inputs, N outputs, R the adapter's rank.
namespace lamina::kernel {

/// norms[n] = |W_n + scale * B_n A|, in fp32. w: (N, K), a: (R, K), b: (N, R), R may be 0.
template <class T>
struct RowNorms {
  Weight w, a, b;
  float scale = 1;
  float* norms = nullptr;  ///< (N)
};
/// y = m / norms * z + bias + beta * y. bias (N) may be null; beta = 0 does not read y; y may be z.
template <class T>
struct MagnitudeFwd {
  Matrix<const T> z;
  const float *m = nullptr, *norms = nullptr;  ///< (N)
  const T* bias = nullptr;
  Matrix<T> y;
  float beta = 0;
};
/// dz = m / norms * dy;  dm += column sums of dy * z / norms, if dm is not null. The norms count as constant. dz may be
/// z.
template <class T>
struct MagnitudeBwd {
  Matrix<const T> dy, z;
  const float *m = nullptr, *norms = nullptr;  ///< (N)
  Matrix<T> dz;
  float* dm = nullptr;
};

template <class B>
struct magnitude {
  static void norms(auto...) { no_kernels<B>(); }
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
