#pragma once
#include <lamina/core/error.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/plain.hpp>

#ifndef EIGEN_DONT_PARALLELIZE
#define EIGEN_DONT_PARALLELIZE
#endif
#include <Eigen/Core>

namespace lamina::kernel::detail {

using EigenMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using EigenMap = Eigen::Map<EigenMatrix, 0, Eigen::OuterStride<>>;
using EigenConstMap = Eigen::Map<const EigenMatrix, 0, Eigen::OuterStride<>>;
inline EigenMap map(Matrix<float> m) { return {m.data, m.rows, m.cols, Eigen::OuterStride<>(m.stride)}; }
inline EigenConstMap map(Matrix<const float> m) { return {m.data, m.rows, m.cols, Eigen::OuterStride<>(m.stride)}; }

/// A buffer that lives as long as its thread and only grows; one a Tag, so that callers do not share by accident.
template <class Tag>
float* scratch(std::size_t floats) {
  static thread_local std::vector<float> buffer;
  if (buffer.size() < floats) buffer.resize(floats);
  return buffer.data();
}

inline void expect_weight(const char* who, const Weight& w) {
  if (w.dtype != DType::F32 && w.dtype != DType::BF16 && w.dtype != DType::F16) {
    fail(who, ": the weight is ", name_of(w.dtype), ", wanted F32, BF16 or F16");
  }
}
inline void expect_shape(const char* who, const char* what, int got_rows, int got_cols, int rows, int cols) {
  if (got_rows != rows || got_cols != cols) {
    fail(who, ": ", what, " is (", got_rows, ", ", got_cols, "), wanted (", rows, ", ", cols, ")");
  }
}

/// Rows [r, r + rows) and columns [c, c + cols) of w as fp32: w itself, or a copy in `out`.
inline Matrix<const float> weight_block(const Weight& w, int r, int rows, int c, int cols, float* out) {
  const std::ptrdiff_t at = r * w.stride + c;
  if (w.dtype == DType::F32) return {static_cast<const float*>(w.data) + at, rows, cols, w.stride};
  for (int i = 0; i < rows; ++i) {
    float* to = out + static_cast<std::ptrdiff_t>(i) * cols;
    if (w.dtype == DType::BF16) {
      const bf16* from = static_cast<const bf16*>(w.data) + at + i * w.stride;
      for (int j = 0; j < cols; ++j) to[j] = to_f32(from[j]);
    } else {
      const f16* from = static_cast<const f16*>(w.data) + at + i * w.stride;
      for (int j = 0; j < cols; ++j) to[j] = to_f32(from[j]);
    }
  }
  return {out, rows, cols, cols};
}

/// beta * y, where beta = 0 does not read y.
inline void scale(Matrix<float> y, float beta) {
  if (beta == 0)
    map(y).setZero();
  else if (beta != 1)
    map(y) *= beta;
}

}  // namespace lamina::kernel::detail

template <>
struct lamina::kernel::matmul<lamina::Cpu> {
  static constexpr int tile = 256;

  template <class T>
  static void forward(Stream<Cpu>, const MatmulFwd<T>& a) {
    detail::expect_weight("matmul", a.w);
    detail::expect_shape("matmul", "x", a.x.rows, a.x.cols, a.y.rows, a.w.cols);
    detail::expect_shape("matmul", "y", a.y.rows, a.y.cols, a.x.rows, a.w.rows);
    if constexpr (std::is_same_v<T, float>) {
      forward_float(a);
    } else {
      plain::matmul_forward(a);
    }
  }
  template <class T>
  static void backward_input(Stream<Cpu>, const MatmulBwdInput<T>& a) {
    detail::expect_weight("matmul", a.w);
    detail::expect_shape("matmul", "dy", a.dy.rows, a.dy.cols, a.dx.rows, a.w.rows);
    detail::expect_shape("matmul", "dx", a.dx.rows, a.dx.cols, a.dy.rows, a.w.cols);
    if constexpr (std::is_same_v<T, float>) {
      backward_input_float(a);
    } else {
      plain::matmul_backward_input(a);
    }
  }
  template <class T>
  static void backward_weight(Stream<Cpu>, const MatmulBwdWeight<T>& a) {
    detail::expect_shape("matmul", "x", a.x.rows, a.x.cols, a.dy.rows, a.dw.cols);
    detail::expect_shape("matmul", "dw", a.dw.rows, a.dw.cols, a.dy.cols, a.x.cols);
    if constexpr (std::is_same_v<T, float>) {
      backward_weight_float(a);
    } else {
      plain::matmul_backward_weight(a);
    }
  }

 private:
  struct Buffer {};
  static std::int64_t tiles(int n) { return (n + tile - 1) / tile; }

  static void forward_float(const MatmulFwd<float>& a) {
    const std::int64_t down = tiles(a.x.rows), across = tiles(a.w.rows);
    parallel_for(down * across, [&](std::int64_t i) {
      const int m = static_cast<int>(i / across) * tile, n = static_cast<int>(i % across) * tile;
      const int rows = std::min(tile, a.x.rows - m), cols = std::min(tile, a.w.rows - n);
      float* copy = detail::scratch<Buffer>(static_cast<std::size_t>(cols) * a.w.cols);
      const auto w = detail::weight_block(a.w, n, cols, 0, a.w.cols, copy);
      const auto y = a.y.row_range(m, rows).columns(n, cols);
      detail::scale(y, a.beta);
      detail::map(y).noalias() += a.alpha * detail::map(a.x.row_range(m, rows)) * detail::map(w).transpose();
      if (a.bias) detail::map(y).rowwise() += Eigen::Map<const Eigen::RowVectorXf>(a.bias + n, cols);
    });
  }
  static void backward_input_float(const MatmulBwdInput<float>& a) {
    const std::int64_t down = tiles(a.dy.rows), across = tiles(a.w.cols);
    parallel_for(down * across, [&](std::int64_t i) {
      const int m = static_cast<int>(i / across) * tile, k = static_cast<int>(i % across) * tile;
      const int rows = std::min(tile, a.dy.rows - m), cols = std::min(tile, a.w.cols - k);
      const auto dx = a.dx.row_range(m, rows).columns(k, cols);
      detail::scale(dx, a.beta);
      for (int n = 0; n < a.w.rows; n += tile) {
        const int depth = std::min(tile, a.w.rows - n);
        float* copy = detail::scratch<Buffer>(static_cast<std::size_t>(depth) * cols);
        const auto w = detail::weight_block(a.w, n, depth, k, cols, copy);
        const auto dy = a.dy.row_range(m, rows).columns(n, depth);
        detail::map(dx).noalias() += a.alpha * detail::map(dy) * detail::map(w);
      }
    });
  }
  static void backward_weight_float(const MatmulBwdWeight<float>& a) {
    parallel_for(tiles(a.dw.rows), [&](std::int64_t i) {
      const int n = static_cast<int>(i) * tile, rows = std::min(tile, a.dw.rows - n);
      const auto dy = a.dy.columns(n, rows);
      detail::map(a.dw.row_range(n, rows)).noalias() += a.alpha * detail::map(dy).transpose() * detail::map(a.x);
      for (int m = 0; a.db && m < dy.rows; ++m) {
        for (int j = 0; j < rows; ++j) a.db[n + j] += dy(m, j);
      }
    });
  }
};
