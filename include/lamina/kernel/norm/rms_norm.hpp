#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

namespace lamina::kernel {

/// r (N) may be null: inference does not need it.
template <class T, int D>
struct RMSNormFwd {
  View<const T, Dyn, D> x;
  View<const T, D> g;
  Matrix<T> y;  ///< (N, D)
  float* r = nullptr;
};
/// dx and dg (D) may be null: nothing below learns; the gain is frozen.
template <class T, int D>
struct RMSNormBwd {
  View<const T, Dyn, D> x;
  View<const T, D> g;
  const float* r = nullptr;
  View<const T, Dyn, D> dy;
  View<T, Dyn, D> dx;
  float* dg = nullptr;
};

template <class B>
struct rms_norm {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
