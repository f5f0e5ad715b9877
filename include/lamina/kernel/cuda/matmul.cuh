#pragma once
#include <lamina/kernel/cuda/cublaslt.cuh>
#include <lamina/kernel/cuda/matmul.hpp>
#include <lamina/kernel/cuda/token_sums.cuh>
#include <lamina/kernel/cuda/weight_copy.cuh>
#include <lamina/kernel/expect.hpp>

namespace lamina::kernel::cuda {

/// The bias where cuBLASLt may read it, 16-byte aligned.
template <class T>
const T* aligned_bias(Stream<Cuda> s, const T* bias, int n) {
  if (reinterpret_cast<std::uintptr_t>(bias) % 16 == 0) return bias;
  T* to = s.scratch->take<T>(n);
  check(cudaMemcpyAsync(to, bias, n * sizeof(T), cudaMemcpyDeviceToDevice, s.handle), "copying a bias");
  return to;
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::matmul<lamina::Cuda>::forward(Stream<Cuda> s, const MatmulFwd<T>& a) {
  detail::expect_weight("matmul", a.w);
  detail::expect_shape("matmul", "x", a.x.rows, a.x.cols, a.y.rows, a.w.cols);
  detail::expect_shape("matmul", "y", a.y.rows, a.y.cols, a.x.rows, a.w.rows);
  if (a.y.rows == 0 || a.y.cols == 0) return;
  Arena::Scope scope(*s.scratch);
  const Matrix<const T> w = cuda::weight_as<T>(s, a.w);
  cuda::multiply(s, cuda::Product<T, T>{.rows = a.y.rows,
                                        .cols = a.y.cols,
                                        .depth = a.x.cols,
                                        .left = a.x.data,
                                        .left_stride = a.x.stride,
                                        .right = w.data,
                                        .right_stride = w.stride,
                                        .out = a.y.data,
                                        .out_stride = a.y.stride,
                                        .bias = cuda::aligned_bias(s, a.bias, a.y.cols),
                                        .alpha = a.alpha,
                                        .beta = a.beta});
}

template <class T>
void lamina::kernel::matmul<lamina::Cuda>::backward_input(Stream<Cuda> s, const MatmulBwdInput<T>& a) {
  detail::expect_weight("matmul", a.w);
  detail::expect_shape("matmul", "dy", a.dy.rows, a.dy.cols, a.dx.rows, a.w.rows);
  detail::expect_shape("matmul", "dx", a.dx.rows, a.dx.cols, a.dy.rows, a.w.cols);
  if (a.dx.rows == 0 || a.dx.cols == 0) return;
  Arena::Scope scope(*s.scratch);
  const Matrix<const T> w = cuda::weight_as<T>(s, a.w);
  cuda::multiply(s, cuda::Product<T, T>{.rows = a.dx.rows,
                                        .cols = a.dx.cols,
                                        .depth = a.dy.cols,
                                        .left = a.dy.data,
                                        .left_stride = a.dy.stride,
                                        .right = w.data,
                                        .right_stride = w.stride,
                                        .right_by_depth = true,
                                        .out = a.dx.data,
                                        .out_stride = a.dx.stride,
                                        .alpha = a.alpha,
                                        .beta = a.beta});
}

template <class T>
void lamina::kernel::matmul<lamina::Cuda>::backward_weight(Stream<Cuda> s, const MatmulBwdWeight<T>& a) {
  detail::expect_shape("matmul", "x", a.x.rows, a.x.cols, a.dy.rows, a.dw.cols);
  detail::expect_shape("matmul", "dw", a.dw.rows, a.dw.cols, a.dy.cols, a.x.cols);
  if (a.dy.rows == 0) return;
  Arena::Scope scope(*s.scratch);
  if (a.db) cuda::add_column_sums(s, a.dy, a.db);
  cuda::multiply(s, cuda::Product<T, float>{.rows = a.dw.rows,
                                            .cols = a.dw.cols,
                                            .depth = a.dy.rows,
                                            .left = a.dy.data,
                                            .left_stride = a.dy.stride,
                                            .left_by_depth = true,
                                            .right = a.x.data,
                                            .right_stride = a.x.stride,
                                            .right_by_depth = true,
                                            .out = a.dw.data,
                                            .out_stride = a.dw.stride,
                                            .alpha = a.alpha,
                                            .beta = 1});
}

/// What a program instantiates in one CUDA file for each element type.
#define LAMINA_CUDA_MATMUL(prefix, T)                                                                          \
  prefix void lamina::kernel::matmul<lamina::Cuda>::forward<T>(Stream<Cuda>, const MatmulFwd<T>&);             \
  prefix void lamina::kernel::matmul<lamina::Cuda>::backward_input<T>(Stream<Cuda>, const MatmulBwdInput<T>&); \
  prefix void lamina::kernel::matmul<lamina::Cuda>::backward_weight<T>(Stream<Cuda>, const MatmulBwdWeight<T>&)
