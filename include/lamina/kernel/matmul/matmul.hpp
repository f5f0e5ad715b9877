#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// The three products of a linear layer y = x W^T + b. Row-major; M rows of tokens, K inputs, N outputs.
/// Sums are fp32 for every element type. Extents are run-time values: every model shares one set of kernels.
namespace lamina::kernel {

/// y = alpha * x W^T + bias + beta * y. bias (N) may be null; beta = 0 does not read y.
template <class T>
struct MatmulFwd {
  Matrix<const T> x;
  Weight w;
  const T* bias = nullptr;
  Matrix<T> y;
  float alpha = 1, beta = 0;
};
/// dx = alpha * dy W + beta * dx.
template <class T>
struct MatmulBwdInput {
  Matrix<const T> dy;
  Weight w;
  Matrix<T> dx;
  float alpha = 1, beta = 0;
};
/// dw += alpha * dy^T x, in fp32; db += column sums of dy if db is not null.
template <class T>
struct MatmulBwdWeight {
  Matrix<const T> dy;
  Matrix<const T> x;
  Matrix<float> dw;
  float* db = nullptr;
  float alpha = 1;
};

template <class B>
struct matmul {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward_input(auto...) { no_kernels<B>(); }
  static void backward_weight(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
