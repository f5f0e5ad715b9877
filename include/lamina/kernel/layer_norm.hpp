#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>

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
  static_assert(always_false<B>,
                "layer_norm has no kernel for this backend: include <lamina/kernel/cpu/layer_norm.hpp>");
  static void forward(auto...) {}
  static void backward(auto...) {}
};

}  // namespace lamina::kernel
