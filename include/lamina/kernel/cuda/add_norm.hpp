#pragma once
#include <lamina/kernel/add_norm.hpp>
#include <lamina/kernel/cuda/norm_rows.hpp>

template <>
struct lamina::kernel::add_rms_norm<lamina::Cuda> {
  template <class T, int D>
  static void forward(Stream<Cuda> s, const AddRMSNormFwd<T, D>& a, float eps) {
    cuda::norm_rows_forward(s, cuda::NormRowsFwd<T>{.x = a.x.data(),
                                                    .g = a.g.data(),
                                                    .s = a.s.data(),
                                                    .y = a.y.data,
                                                    .r = a.r,
                                                    .rows = a.x.extent(0),
                                                    .width = D,
                                                    .y_stride = a.y.stride,
                                                    .eps = eps});
  }
  template <class T, int D>
  static void backward(Stream<Cuda> s, const AddRMSNormBwd<T, D>& a) {
    cuda::norm_rows_backward(s, cuda::NormRowsBwd<T>{.x = a.x.data(),
                                                     .g = a.g.data(),
                                                     .dy = a.dy.data(),
                                                     .residual = a.residual.data(),
                                                     .r = a.r,
                                                     .dx = a.dx.data(),
                                                     .dg = a.dg,
                                                     .rows = a.x.extent(0),
                                                     .width = D});
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
    cuda::norm_rows_forward(s, cuda::NormRowsFwd<T>{.x = a.x.data(),
                                                    .g = a.g.data(),
                                                    .b = a.b.data(),
                                                    .s = a.s.data(),
                                                    .y = a.y.data,
                                                    .mean = a.mean,
                                                    .r = a.r,
                                                    .rows = a.x.extent(0),
                                                    .width = D,
                                                    .y_stride = a.y.stride,
                                                    .centred = true,
                                                    .eps = eps});
  }
  template <class T, int D>
  static void backward(Stream<Cuda> s, const AddLayerNormBwd<T, D>& a) {
    cuda::norm_rows_backward(s, cuda::NormRowsBwd<T>{.x = a.x.data(),
                                                     .g = a.g.data(),
                                                     .dy = a.dy.data(),
                                                     .residual = a.residual.data(),
                                                     .mean = a.mean,
                                                     .r = a.r,
                                                     .dx = a.dx.data(),
                                                     .dg = a.dg,
                                                     .db = a.db,
                                                     .rows = a.x.extent(0),
                                                     .width = D,
                                                     .centred = true});
  }
  template <class T, int D>
  static std::size_t workspace_bytes(const AddLayerNormBwd<T, D>& a) {
    return cuda::norm_workspace_bytes(a.dg != nullptr, D);
  }
};
