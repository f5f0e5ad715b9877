#pragma once
#include <lamina/kernel/cuda/norm_rows.hpp>
#include <lamina/kernel/rms_norm.hpp>

template <>
struct lamina::kernel::rms_norm<lamina::Cuda> {
  template <class T, int D>
  static void forward(Stream<Cuda> s, const RMSNormFwd<T, D>& a, float eps) {
    cuda::norm_rows_forward(s, cuda::NormRowsFwd<T>{.x = a.x.data(),
                                                    .g = a.g.data(),
                                                    .y = a.y.data,
                                                    .r = a.r,
                                                    .rows = a.x.extent(0),
                                                    .width = D,
                                                    .y_stride = a.y.stride,
                                                    .eps = eps});
  }
  template <class T, int D>
  static void backward(Stream<Cuda> s, const RMSNormBwd<T, D>& a) {
    cuda::norm_rows_backward(s, cuda::NormRowsBwd<T>{.x = a.x.data(),
                                                     .g = a.g.data(),
                                                     .dy = a.dy.data(),
                                                     .r = a.r,
                                                     .dx = a.dx.data(),
                                                     .dg = a.dg,
                                                     .rows = a.x.extent(0),
                                                     .width = D});
  }
  template <class T, int D>
  static std::size_t workspace_bytes(const RMSNormBwd<T, D>& a) {
    return cuda::norm_workspace_bytes(a.dg != nullptr, D);
  }
};
