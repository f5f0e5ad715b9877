#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// A residual stream's addition and the norm that reads its sum, in one pass over memory.
///
///     forward     s += x,   y = norm(s)
///     backward    dx = residual + (gradient of the norm's input);   the gain's gradient is added to
namespace lamina::kernel {

/// r (N) may be null: inference does not need it.
template <class T, int D>
struct AddRMSNormFwd {
  View<const T, Dyn, D> x;
  View<const T, D> g;
  View<T, Dyn, D> s;
  Matrix<T> y;  ///< (N, D)
  float* r = nullptr;
};
/// x is the norm's input, residual what its other readers send back. dx and dg (D) may be null.
template <class T, int D>
struct AddRMSNormBwd {
  View<const T, Dyn, D> x;
  View<const T, D> g;
  const float* r = nullptr;
  View<const T, Dyn, D> dy, residual;
  View<T, Dyn, D> dx;
  float* dg = nullptr;
};

/// mean, r (N) may be null.
template <class T, int D>
struct AddLayerNormFwd {
  View<const T, Dyn, D> x;
  View<const T, D> g, b;
  View<T, Dyn, D> s;
  Matrix<T> y;  ///< (N, D)
  float* mean = nullptr;
  float* r = nullptr;
};
/// dx, and dg with db (D), may be null.
template <class T, int D>
struct AddLayerNormBwd {
  View<const T, Dyn, D> x;
  View<const T, D> g;
  const float* mean = nullptr;
  const float* r = nullptr;
  View<const T, Dyn, D> dy, residual;
  View<T, Dyn, D> dx;
  float* dg = nullptr;
  float* db = nullptr;
};

template <class B>
struct add_rms_norm {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};
template <class B>
struct add_layer_norm {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
