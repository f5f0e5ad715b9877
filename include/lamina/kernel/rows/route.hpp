#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/objective/auxiliary.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// Sending rows to experts. N rows, n experts, of which each row goes to k: choice c of row r is number k r + c. Sorted
/// rows, N k of them, are those of expert 0, then those of expert 1; an expert's rows keep their order.
namespace lamina::kernel {

/// p = softmax(logits): the k largest of a row, the largest first, the first of equal ones; weight = p, or
/// p / (sum of the k) if normalised. In fp32.
template <class T>
struct RouteChoose {
  Matrix<const T> logits;  ///< (N, n)
  int k = 1;
  bool normalised = true;
  int* expert = nullptr;    ///< (N, k)
  float* weight = nullptr;  ///< (N, k)
};

/// Where choices are among sorted rows.
struct RouteSort {
  static constexpr int most_experts = 1024;
  const int* expert = nullptr;  ///< (N, k)
  int rows = 0, k = 1, experts = 0;
  int* source = nullptr;  ///< (N k) the row that a sorted row is
  int* place = nullptr;   ///< (N, k) the sorted row of a choice
  int* ends = nullptr;    ///< (n) where an expert's rows end
};

/// Of each part of the rows: sums[e] += how many chose expert e, sums[n + e] += sum_r p_e(r). In fp32.
template <class T>
struct RouteSums {
  Matrix<const T> logits;
  int k = 1;
  const int* expert = nullptr;  ///< (N, k)
  AuxiliarySums to;             ///< to.each = 2 n
};

/// y[r] = sum_c weight[r, c] sorted[place[r, c]] + beta * y[r], in the order of c, rounded once; without weights each
/// counts 1. beta = 0 does not read y.
template <class T>
struct RouteCombine {
  Matrix<const T> sorted;  ///< (N k, D)
  const int* place = nullptr;
  const float* weight = nullptr;
  int k = 1;
  Matrix<T> y;  ///< (N, D)
  float beta = 0;
};

/// The backward of a weighted combination: dsorted[place[r, c]] = weight[r, c] dy[r] and
/// dweight[r, c] = sorted[place[r, c]] . dy[r], in fp32.
template <class T>
struct RouteSplit {
  Matrix<const T> dy, sorted;
  const int* place = nullptr;
  const float* weight = nullptr;
  int k = 1;
  Matrix<T> dsorted;
  float* dweight = nullptr;  ///< (N, k)
};

/// dlogits of RouteChoose. With S the sum of the chosen p:  dp_c = (dw_c - sum_i dw_i w_i) / S if normalised, else
/// dw_c; dlogit_e = p_e (dp_e - sum_c p_c dp_c). With `balance`, all dp_e are first added weight n C_e / R^2: the slope
/// of weight n sum_e (C_e / R) (P_e / R), where C and P are the sums of the row's part and R = sum_e C_e / k its rows.
template <class T>
struct RouteBwd {
  Matrix<const T> logits;
  int k = 1;
  bool normalised = true;
  const int* expert = nullptr;
  const float *weight = nullptr, *dweight = nullptr;
  Matrix<T> dlogits;        ///< (N, n)
  AuxiliarySums balance{};  ///< sums of RouteSums; null: no such loss
};

template <class B>
struct route {
  static void choose(auto...) { no_kernels<B>(); }
  static void sort(auto...) { no_kernels<B>(); }
  static void sum(auto...) { no_kernels<B>(); }
  static void combine(auto...) { no_kernels<B>(); }
  static void split(auto...) { no_kernels<B>(); }
  static void backward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
