#pragma once
#include <lamina/kernel/cuda/matmul/matmul.hpp>
#include <lamina/kernel/matmul/gated_product.hpp>

/// One kernel if decoding's own product takes it (kernel/cuda/matmul/streamed/weight_product.cuh), else a product and
/// the activation.
template <>
struct lamina::kernel::gated_product<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const GatedProduct<T>& a);
  template <class T>
  static std::size_t workspace_bytes(const GatedProduct<T>& a) {
    return matmul<Cuda>::workspace_bytes(MatmulFwd<T>{.x = a.x, .w = a.w, .y = a.h});
  }
};
