#pragma once
#include <lamina/kernel/cuda/rows/norm_rows.hpp>
#include <lamina/kernel/layer_norm.hpp>

template <>
struct lamina::kernel::layer_norm<lamina::Cuda> {
  template <class T, int D>
  static void forward(Stream<Cuda> s, const LayerNormFwd<T, D>& a, float eps) {
    cuda::norm_rows_forward(s, cuda::norm_rows_forward_of<T, D>(a, eps));
  }
  template <class T, int D>
  static void backward(Stream<Cuda> s, const LayerNormBwd<T, D>& a) {
    cuda::norm_rows_backward(s, cuda::norm_rows_backward_of<T, D>(a));
  }
  template <class T, int D>
  static std::size_t workspace_bytes(const LayerNormBwd<T, D>& a) {
    return cuda::norm_workspace_bytes(a.dg != nullptr, D);
  }
};
