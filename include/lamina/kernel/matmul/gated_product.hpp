#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

namespace lamina::kernel {

/// The first half of a gated MLP if nothing of it is kept: y = silu(x Wgate^T) * (x Wup^T).
///
/// x (M, K); w (2 F, K), gate's rows above up's; y (M, F); h (M, 2 F) is scratch: what it holds afterwards depends on
/// the backend
/// numerics   sums in fp32; gate and up may be rounded to T before the activation
template <class T>
struct GatedProduct {
  Matrix<const T> x;
  Weight w;
  Matrix<T> h, y;
};

template <class B>
struct gated_product {
  static void forward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
