#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>
#include <lamina/kernel/norm/norm_rows.hpp>

/// What the ranks of one model (Stream::ranks) exchange while they compute a step. Every rank calls the same functions
/// with the same sizes in the same order.
namespace lamina::kernel {

/// Sums over ranks, added up in the same order everywhere, so that every rank has the same bits.
///
///     y null: x = sum of the ranks' x
///     else    y += sum of the ranks' x, rounded once if the backend can; x means nothing afterwards
///
/// shapes  x, y: (N, D); x without gaps between its rows
template <class T>
struct RankSum {
  Matrix<T> x;
  Matrix<T> y;
};
/// The forward pass of a norm that adds a residual stream (AddRMSNormFwd, AddLayerNormFwd), whose s is first summed
/// over ranks, as RankSum's x is.
template <class T>
struct RankSumNorm {
  NormRowsFwd<T> norm;
};
/// On rank 0 y[n, r W + i] = x[n, i] of rank r; on the others y means nothing afterwards.
///
/// shapes  x (N, W), y (N, R W), R ranks; both without gaps
template <class T>
struct RankGather {
  Matrix<const T> x;
  Matrix<T> y;
};
/// Every rank gets rank 0's values, which are at least 0.
struct RankBroadcast {
  int* values = nullptr;
  int count = 0;
};

template <class B>
struct across_ranks {
  static void sum(auto...) { no_kernels<B>(); }
  static void sum_norm(auto...) { no_kernels<B>(); }
  static void gather(auto...) { no_kernels<B>(); }
  static void broadcast(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
