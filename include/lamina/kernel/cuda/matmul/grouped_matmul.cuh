#pragma once
#include <lamina/kernel/cuda/matmul/grouped_matmul.hpp>
#include <lamina/kernel/cuda/matmul/grouped_tile.cuh>
#include <lamina/kernel/expect.hpp>

namespace lamina::kernel::cuda {

/// out = alpha * left W_g (+ bias_g) + beta * out. RightByDepth: W's rows are what is summed over, else its columns.
template <class T>
struct GroupedRows {
  PieceSource<T> left, right;
  std::ptrdiff_t step, bias_step;  ///< bytes
  RowGroups groups;
  const T* bias;
  Matrix<T> out;
  float alpha, beta;
};

/// Grid: tiles of columns; tiles of rows.
template <class T, bool RightByDepth>
__global__ void __launch_bounds__(group_threads) grouped_rows(GroupedRows<T> a) {
  const GroupRows rows(a.groups, static_cast<int>(blockIdx.y));
  if (rows.group < 0) return;
  const int column = static_cast<int>(blockIdx.x) * group_tile;
  PieceSource<T> right = a.right;
  right.data = kernel::detail::stepped(static_cast<const std::byte*>(right.data), a.step, rows.group);
  const T* const bias = kernel::detail::stepped(a.bias, a.bias_step, rows.group);
  const GroupTile<T> tile = sum_tile<T, false, RightByDepth>(
      a.left.cols, [&](int r, int c) { return rows.first + r < rows.end ? a.left.piece(rows.first + r, c) : uint4{}; },
      [&](int r, int c) { return RightByDepth ? right.piece(r, column + c) : right.piece(column + r, c); });
  tile.each([&](int r, int c, float value) {
    r += rows.first, c += column;
    if (r >= rows.end || c >= a.out.cols) return;
    value *= a.alpha;
    if (bias) value += widen(bias[c]);
    if (a.beta != 0) value += a.beta * widen(a.out(r, c));
    a.out(r, c) = narrow<T>(value);
  });
}

template <class T>
struct GroupedWeights {
  PieceSource<T> dy, x;
  std::ptrdiff_t step, bias_step;  ///< bytes
  RowGroups groups;
  Matrix<float> dw;
  float* db;
  float alpha;
};

/// Grid: tiles of x's columns; tiles of dy's; groups.
template <class T>
__global__ void __launch_bounds__(group_threads) grouped_weights(GroupedWeights<T> a) {
  const int group = static_cast<int>(blockIdx.z), first = group == 0 ? 0 : a.groups.ends[group - 1],
            end = a.groups.ends[group];
  if (first == end) return;
  const int row = static_cast<int>(blockIdx.y) * group_tile, column = static_cast<int>(blockIdx.x) * group_tile;
  const auto rows_of = [&](const PieceSource<T>& from, int from_column) {
    return [&from, first, end, from_column](int r, int c) {
      return first + r < end ? from.piece(first + r, from_column + c) : uint4{};
    };
  };
  const GroupTile<T> tile = sum_tile<T, true, true>(end - first, rows_of(a.dy, row), rows_of(a.x, column));
  float* const dw = kernel::detail::stepped(a.dw.data, a.step, group);
  tile.each([&](int r, int c, float value) {
    r += row, c += column;
    if (r < a.dw.rows && c < a.dw.cols) dw[r * a.dw.stride + c] += a.alpha * value;
  });
  if (!a.db || blockIdx.x > 0 || static_cast<int>(threadIdx.x) >= group_tile) return;
  const int n = row + static_cast<int>(threadIdx.x);
  if (n >= a.dy.cols) return;
  float sum = 0;
  for (int r = first; r < end; ++r) sum += a.dy.at(r, n);
  kernel::detail::stepped(a.db, a.bias_step, group)[n] += sum;
}

template <bool RightByDepth, class T>
void launch_grouped_rows(Stream<Cuda> s, const GroupedRows<T>& a) {
  if (a.out.rows == 0 || a.out.cols == 0) return;
  const dim3 grid(ceil_div(a.out.cols, group_tile), GroupRows::blocks(a.out.rows, a.groups.count));
  grouped_rows<T, RightByDepth><<<grid, group_threads, 0, s.handle>>>(a);
  check_launch("grouped_rows");
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::grouped_matmul<lamina::Cuda>::forward(Stream<Cuda> s, const GroupedFwd<T>& a) {
  const MatmulFwd<T>& p = a.product;
  detail::expect_weight("grouped_matmul", p.w);
  detail::expect_shape("grouped_matmul", "x", p.x.rows, p.x.cols, p.y.rows, p.w.cols);
  detail::expect_shape("grouped_matmul", "y", p.y.rows, p.y.cols, p.x.rows, p.w.rows);
  cuda::launch_grouped_rows<false>(s, cuda::GroupedRows<T>{.left = cuda::PieceSource<T>(p.x),
                                                           .right = cuda::PieceSource<T>(p.w, a.step.bytes),
                                                           .step = a.step.bytes,
                                                           .bias_step = a.bias_step,
                                                           .groups = a.groups,
                                                           .bias = p.bias,
                                                           .out = p.y,
                                                           .alpha = p.alpha,
                                                           .beta = p.beta});
}

template <class T>
void lamina::kernel::grouped_matmul<lamina::Cuda>::backward_input(Stream<Cuda> s, const GroupedBwdInput<T>& a) {
  const MatmulBwdInput<T>& p = a.product;
  detail::expect_weight("grouped_matmul", p.w);
  detail::expect_shape("grouped_matmul", "dy", p.dy.rows, p.dy.cols, p.dx.rows, p.w.rows);
  detail::expect_shape("grouped_matmul", "dx", p.dx.rows, p.dx.cols, p.dy.rows, p.w.cols);
  cuda::launch_grouped_rows<true>(s, cuda::GroupedRows<T>{.left = cuda::PieceSource<T>(p.dy),
                                                          .right = cuda::PieceSource<T>(p.w, a.step.bytes),
                                                          .step = a.step.bytes,
                                                          .bias_step = 0,
                                                          .groups = a.groups,
                                                          .bias = nullptr,
                                                          .out = p.dx,
                                                          .alpha = p.alpha,
                                                          .beta = p.beta});
}

template <class T>
void lamina::kernel::grouped_matmul<lamina::Cuda>::backward_weight(Stream<Cuda> s, const GroupedBwdWeight<T>& a) {
  const MatmulBwdWeight<T>& p = a.product;
  detail::expect_shape("grouped_matmul", "x", p.x.rows, p.x.cols, p.dy.rows, p.dw.cols);
  detail::expect_shape("grouped_matmul", "dw", p.dw.rows, p.dw.cols, p.dy.cols, p.x.cols);
  if (p.dw.rows == 0 || p.dw.cols == 0) return;
  const dim3 grid(cuda::ceil_div(p.dw.cols, cuda::group_tile), cuda::ceil_div(p.dw.rows, cuda::group_tile),
                  static_cast<unsigned>(a.groups.count));
  cuda::grouped_weights<<<grid, cuda::group_threads, 0, s.handle>>>(
      cuda::GroupedWeights<T>{.dy = cuda::PieceSource<T>(p.dy),
                              .x = cuda::PieceSource<T>(p.x),
                              .step = a.step,
                              .bias_step = a.bias_step,
                              .groups = a.groups,
                              .dw = p.dw,
                              .db = p.db,
                              .alpha = p.alpha});
  cuda::check_launch("grouped_weights");
}
