#pragma once
#include <lamina/kernel/cuda/elementwise/activation.hpp>
#include <lamina/kernel/cuda/matmul/gated_product.hpp>
#include <lamina/kernel/cuda/matmul/matmul.hpp>
#include <lamina/kernel/cuda/matmul/streamed/weight_product.cuh>
#include <lamina/kernel/expect.hpp>

template <class T>
void lamina::kernel::gated_product<lamina::Cuda>::forward(Stream<Cuda> s, const GatedProduct<T>& a) {
  detail::expect_weight("gated_product", a.w, true);
  detail::expect_shape("gated_product", "y", a.y.rows, a.y.cols, a.x.rows, a.w.rows / 2);
  if constexpr (!std::is_same_v<T, float>)
    if (const int splits = cuda::weight_product_splits<T>(s, a.w, a.x.rows)) {
      const cuda::WeightProduct<T> p{.w = cuda::as_matrix<T>(a.w), .x = a.x, .y = a.y};
      if (p.supported()) return cuda::run_weight_product<true>(s, p, splits);
    }
  matmul<Cuda>::forward(s, MatmulFwd<T>{.x = a.x, .w = a.w, .y = a.h});
  silu_gate<Cuda>::forward(s, SiluGateFwd<T>{.x = a.h, .y = a.y});
}
