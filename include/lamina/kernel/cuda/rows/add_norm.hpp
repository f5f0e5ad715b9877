#pragma once
#include <lamina/kernel/add_norm.hpp>
#include <lamina/kernel/cuda/rows/norm_rows.hpp>

template <>
struct lamina::kernel::add_rms_norm<lamina::Cuda> {
  template <class T, int D>
  static void forward(Stream<Cuda> s, const AddRMSNormFwd<T, D>& a, float eps) {
    cuda::norm_rows_forward(s, cuda::norm_rows_forward_of<T, D>(a, eps));
  }
  template <class T, int D>
  static void backward(Stream<Cuda> s, const AddRMSNormBwd<T, D>& a) {
    cuda::norm_rows_backward(s, cuda::norm_rows_backward_of<T, D>(a));
  }
  template <class T, int D>
  static std::size_t workspace_bytes(const AddRMSNormBwd<T, D>& a) {
    return cuda::norm_workspace_bytes(a.dg != nullptr, D);
  }
};

template <>
struct lamina::kernel::add_layer_norm<lamina::Cuda> {
  template <class T, int D>
  static void forward(Stream<Cuda> s, const AddLayerNormFwd<T, D>& a, float eps) {
    cuda::norm_rows_forward(s, cuda::norm_rows_forward_of<T, D>(a, eps));
  }
  template <class T, int D>
  static void backward(Stream<Cuda> s, const AddLayerNormBwd<T, D>& a) {
    cuda::norm_rows_backward(s, cuda::norm_rows_backward_of<T, D>(a));
  }
  template <class T, int D>
  static std::size_t workspace_bytes(const AddLayerNormBwd<T, D>& a) {
    return cuda::norm_workspace_bytes(a.dg != nullptr, D);
  }
};
