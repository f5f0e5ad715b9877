#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// Moving rows about: embedding look-up, scattering vision rows among text rows, window order, learned positions.
namespace lamina::kernel {

/// gather: y[i] = x[index[i]].   scatter: y[index[i]] = x[i].   scatter_add: y[index[i]] += x[i].
/// zero: y = 0.
/// The indices of one scatter_add are distinct, or i is taken in order.
template <class T>
struct Rows {
  Matrix<const T> x;
  const int* index = nullptr;
  Matrix<T> y;
};

/// y[n] = W[ids[n]]; ids < 0 mean zeros: rows that an image fills.
template <class T>
struct EmbeddingFwd {
  const int* ids = nullptr;
  Weight w;
  Matrix<T> y;
};
/// dW[ids[n]] += dy[n], in order of n; ids < 0 are passed over.
template <class T>
struct EmbeddingBwd {
  const int* ids = nullptr;
  Matrix<const T> dy;
  Matrix<float> dw;
};

/// y[n] = x[n] + sum_k weight[n,k] * W[row[n,k]], k < 4: a bilinear look-up in a table of positions.
template <class T>
struct LearnedPositionFwd {
  Matrix<const T> x;
  Weight w;
  const int* row = nullptr;
  const float* weight = nullptr;
  Matrix<T> y;
};
/// dW[row[n,k]] += weight[n,k] * dy[n]; the gradient of x is dy itself.
template <class T>
struct LearnedPositionBwd {
  Matrix<const T> dy;
  const int* row = nullptr;
  const float* weight = nullptr;
  Matrix<float> dw;
};

template <class B>
struct rows {
  static void gather(auto...) { no_kernels<B>(); }
  static void scatter(auto...) { no_kernels<B>(); }
  static void scatter_add(auto...) { no_kernels<B>(); }
  static void zero(auto...) { no_kernels<B>(); }
};
template <class B>
struct embedding {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};
template <class B>
struct learned_position {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
