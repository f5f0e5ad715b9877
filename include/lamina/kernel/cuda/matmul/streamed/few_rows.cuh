#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/kernel/matmul/matmul.hpp>

/// y = alpha * x W^T + bias + beta * y for a few rows in fp32: bounded by reading W, of any element type, once.
namespace lamina::kernel::cuda {

/// A row of w, N elements from k on; zeros beyond its end. In 16-byte pieces, or one by one.
template <int N, class W>
__device__ void load_row(const W* row, int k, int end, bool pieces, float (&to)[N]) {
  static_assert(N % piece_elements<W> == 0);
  if (pieces && k + N <= end) {
    for (int i = 0; i < N; i += piece_elements<W>)
      load_piece(row + k + i, reinterpret_cast<float(&)[piece_elements<W>]>(to[i]));
  } else {
    for (int i = 0; i < N; ++i) to[i] = k + i < end ? widen(row[k + i]) : 0.0f;
  }
}

/// A warp per row of w, 8 elements per lane and step.
template <class W, int Rows, int Warps>
__global__ void __launch_bounds__(Warps* warp_size)
    few_rows_f32(MatmulFwd<float> a, bool pieces_of_w, bool pieces_of_x) {
  constexpr int elements = 8;
  const int n = blockIdx.x * Warps + threadIdx.x / warp_size, lane = threadIdx.x % warp_size;
  if (n >= a.w.rows) return;
  const W* w = static_cast<const W*>(a.w.data) + n * a.w.stride;
  float sum[Rows] = {};
#pragma unroll 4
  for (int k = lane * elements; k < a.w.cols; k += warp_size * elements) {
    float wk[elements], xk[elements];
    load_row(w, k, a.w.cols, pieces_of_w, wk);
#pragma unroll
    for (int m = 0; m < Rows; ++m) {
      load_row(a.x.row(min(m, a.x.rows - 1)), k, a.w.cols, pieces_of_x, xk);
      for (int i = 0; i < elements; ++i) sum[m] += wk[i] * xk[i];
    }
  }
  for (int m = 0; m < Rows; ++m) {
    const float value = a.alpha * warp_sum(sum[m]) + (a.bias ? a.bias[n] : 0.0f);
    if (lane == 0 && m < a.y.rows) a.y(m, n) = a.beta == 0 ? value : value + a.beta * a.y(m, n);
  }
}

template <class W>
void few_rows(Stream<Cuda> s, const MatmulFwd<float>& a) {
  constexpr int warps = 4;
  const auto pieces = [](const void* data, std::size_t row_bytes) {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && row_bytes % 16 == 0;
  };
  const bool of_w = pieces(a.w.data, a.w.stride * sizeof(W)), of_x = pieces(a.x.data, a.x.stride * sizeof(float));
  const int blocks = ceil_div(a.w.rows, warps);
  if (a.x.rows == 1)
    few_rows_f32<W, 1, warps><<<blocks, warps * warp_size, 0, s.handle>>>(a, of_w, of_x);
  else
    few_rows_f32<W, 8, warps><<<blocks, warps * warp_size, 0, s.handle>>>(a, of_w, of_x);
  check_launch("few_rows_f32");
}
/// At most 8 rows.
inline void few_rows_of_any(Stream<Cuda> s, const MatmulFwd<float>& a) {
  if (a.w.dtype == DType::BF16) return few_rows<bf16>(s, a);
  if (a.w.dtype == DType::F16) return few_rows<f16>(s, a);
  few_rows<float>(s, a);
}

}  // namespace lamina::kernel::cuda
