#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

namespace lamina::kernel {

/// mean, r (N) may be null: inference does not need them.
template <class T, int D>
struct LayerNormFwd {
  View<const T, Dyn, D> x;
  View<const T, D> g, b;
  Matrix<T> y;  ///< (N, D)
  float* mean = nullptr;
  float* r = nullptr;
};
/// dx, and dg with db (D), may be null.
template <class T, int D>
struct LayerNormBwd {
  View<const T, Dyn, D> x;
  View<const T, D> g;
  const float* mean = nullptr;
  const float* r = nullptr;
  View<const T, Dyn, D> dy;
  View<T, Dyn, D> dx;
  float* dg = nullptr;
  float* db = nullptr;
};

template <class B>
struct layer_norm {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
