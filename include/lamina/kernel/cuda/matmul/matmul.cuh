#pragma once
#include <lamina/kernel/cuda/matmul/cublaslt.cuh>
#include <lamina/kernel/cuda/matmul/matmul.hpp>
#include <lamina/kernel/cuda/matmul/rank_update.cuh>
#include <lamina/kernel/cuda/matmul/streamed/few_rows.cuh>
#include <lamina/kernel/cuda/matmul/streamed/streamed_product.cuh>
#include <lamina/kernel/cuda/matmul/streamed/weight_copy.cuh>
#include <lamina/kernel/cuda/matmul/streamed/weight_product.cuh>
#include <lamina/kernel/cuda/rows/token_sums.cuh>
#include <lamina/kernel/expect.hpp>

/// Which kernel a product gets. Each try_ says whether its kernel took the product: it declines other shapes, and rows
/// that do not consist of 16-byte pieces; products that all decline go to cuBLASLt.
namespace lamina::kernel::cuda {

/// Rows up to which a product is bounded by reading its weight alone; with more, cuBLASLt is as fast or faster.
inline constexpr int few_rows_limit = 8;

/// The bias if cuBLASLt may read it, 16-byte aligned.
template <class T>
const T* aligned_bias(Stream<Cuda> s, const T* bias, int n) {
  if (reinterpret_cast<std::uintptr_t>(bias) % 16 == 0) return bias;
  T* to = s.scratch->take<T>(n);
  check(cudaMemcpyAsync(to, bias, n * sizeof(T), cudaMemcpyDeviceToDevice, s.handle), "copying a bias");
  return to;
}

/// Decode, through a kernel for sm_90a.
template <class T>
bool try_weight_product(Stream<Cuda> s, const MatmulFwd<T>& a) {
  if constexpr (!std::is_same_v<T, float>) {
    const int splits = weight_product_splits<T>(s, a.w, a.x.rows);
    if (splits == 0) return false;
    const WeightProduct<T> p{
        .w = as_matrix<T>(a.w), .x = a.x, .y = a.y, .bias = a.bias, .alpha = a.alpha, .beta = a.beta};
    if (p.supported()) run_weight_product<false>(s, p, splits);
    return p.supported();
  }
  return false;
}

/// Decode: few rows of x.
template <class T>
bool try_few_rows(Stream<Cuda> s, const MatmulFwd<T>& a) {
  if (a.x.rows > few_rows_limit) return false;
  if constexpr (std::is_same_v<T, float>) {
    if (!a.w.quantized) few_rows_of_any(s, a);
    return !a.w.quantized;
  } else {
    const auto at = [&](const Matrix<const T>& w) {
      return StreamedProduct<T>{.large = w,
                                .small = a.x,
                                .out = a.y.data,
                                .z_step = 1,
                                .s_step = a.y.stride,
                                .bias = a.bias,
                                .alpha = a.alpha,
                                .beta = a.beta};
    };
    if (a.w.cols % 8 != 0 || !in_pieces(a.x)) return false;
    const StreamedProduct<T> p = at(weight_as<T>(s, a.w));
    if (p.supported()) streamed_weight(s, p, a.w.dtype == dtype_of<T>);
    return p.supported();
  }
}

/// An adapter's inner product: out = alpha * x w^T + beta * out with few rows in w, which is a weight or its transpose.
template <bool Transposed, class T>
bool try_streamed(Stream<Cuda> s, const Matrix<const T>& x, const Weight& w, const Matrix<T>& out, float alpha,
                  float beta) {
  if (std::is_same_v<T, float> || out.cols > skinny_limit || x.cols % 8 != 0 || !in_pieces(x)) return false;
  if constexpr (!std::is_same_v<T, float>) {
    const Matrix<const T> small = weight_in_pieces<Transposed, T>(s, w, 8);
    streamed_tokens(s, StreamedProduct<T>{.large = x,
                                          .small = small,
                                          .out = out.data,
                                          .z_step = out.stride,
                                          .s_step = 1,
                                          .alpha = alpha,
                                          .beta = beta});
  }
  return true;
}

/// An adapter's outer product: y = alpha * h w^T + bias + beta * y with few columns in h.
template <bool Transposed, class T>
bool try_rank_update(Stream<Cuda> s, const Matrix<const T>& h, const Weight& w, const T* bias, const Matrix<T>& y,
                     float alpha, float beta) {
  if (std::is_same_v<T, float> || h.cols > skinny_limit || h.cols == 0) return false;
  if constexpr (!std::is_same_v<T, float>) {
    RankUpdate<T> update_{.h = h, .y = y, .bias = bias, .alpha = alpha, .beta = beta};
    if (!update_.supported()) return false;
    update_.p = weight_in_pieces<Transposed, T>(s, w, 16);
    update(s, update_);
  }
  return true;
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::matmul<lamina::Cuda>::forward(Stream<Cuda> s, const MatmulFwd<T>& a) {
  detail::expect_weight("matmul", a.w, true);
  detail::expect_shape("matmul", "x", a.x.rows, a.x.cols, a.y.rows, a.w.cols);
  detail::expect_shape("matmul", "y", a.y.rows, a.y.cols, a.x.rows, a.w.rows);
  if (a.y.rows == 0 || a.y.cols == 0) return;
  Arena::Scope scope(*s.scratch);
  if (cuda::try_weight_product(s, a)) return;
  if (cuda::try_few_rows(s, a)) return;
  if (!a.bias && cuda::try_streamed<false>(s, a.x, a.w, a.y, a.alpha, a.beta)) return;
  if (cuda::try_rank_update<false>(s, a.x, a.w, a.bias, a.y, a.alpha, a.beta)) return;
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
  detail::expect_weight("matmul", a.w, true);
  detail::expect_shape("matmul", "dy", a.dy.rows, a.dy.cols, a.dx.rows, a.w.rows);
  detail::expect_shape("matmul", "dx", a.dx.rows, a.dx.cols, a.dy.rows, a.w.cols);
  if (a.dx.rows == 0 || a.dx.cols == 0) return;
  Arena::Scope scope(*s.scratch);
  if (cuda::try_streamed<true>(s, a.dy, a.w, a.dx, a.alpha, a.beta)) return;
  if (cuda::try_rank_update<true>(s, a.dy, a.w, static_cast<const T*>(nullptr), a.dx, a.alpha, a.beta)) return;
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
  if (a.dw.rows == 0 || a.dw.cols == 0) return;
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
