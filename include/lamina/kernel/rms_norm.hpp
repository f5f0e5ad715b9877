#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>

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
  static_assert(always_false<B>,
                "rms_norm has no kernel for this backend: include <lamina/kernel/cpu/rms_norm.hpp> or "
                "<lamina/kernel/cuda/rows/norm_rows.cuh>");
  static void forward(auto...) {}
  static void backward(auto...) {}
};

}  // namespace lamina::kernel
