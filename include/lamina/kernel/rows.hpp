#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/param.hpp>

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
  static_assert(always_false<B>, "rows has no kernel for this backend: include <lamina/kernel/cpu/rows.hpp>");
  static void gather(auto...) {}
  static void scatter(auto...) {}
  static void scatter_add(auto...) {}
  static void zero(auto...) {}
};
template <class B>
struct embedding {
  static_assert(always_false<B>, "embedding has no kernel for this backend: include <lamina/kernel/cpu/rows.hpp>");
  static void forward(auto...) {}
  static void backward(auto...) {}
};
template <class B>
struct learned_position {
  static_assert(always_false<B>,
                "learned_position has no kernel for this backend: include <lamina/kernel/cpu/rows.hpp>");
  static void forward(auto...) {}
  static void backward(auto...) {}
};

}  // namespace lamina::kernel
