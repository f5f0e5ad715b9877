#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/kernel/cuda/matmul/matmul.hpp>

/// Sums over tokens: each of up to token_splits runs of tokens gives a partial sum in fp32, then these are added up in
/// order, so the result does not depend on which came first.
namespace lamina::kernel::cuda {

/// to[r, c] += alpha * sum_s part[s, r, c].
template <class T>
__global__ void add_partial_sums(const T* part, int splits, float alpha, Matrix<T> to) {
  const std::int64_t size = std::int64_t{to.rows} * to.cols, at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= size) return;
  T sum = 0;
#pragma unroll 8
  for (int s = 0; s < splits; ++s) sum += part[s * size + at];
  to(static_cast<int>(at / to.cols), static_cast<int>(at % to.cols)) += alpha * sum;
}

/// part[s, c] = sum of x[m, c] over the s-th run of rows. A block: 32 x 8 threads, 32 columns.
template <class T>
__global__ void column_sums(Matrix<const T> x, int rows_per_split, float* part) {
  __shared__ float sums[8][32];
  const int c = blockIdx.x * 32 + threadIdx.x, first = blockIdx.y * rows_per_split;
  const int end = min(first + rows_per_split, x.rows);
  float sum = 0;
  if (c < x.cols) {
#pragma unroll 8
    for (int m = first + threadIdx.y; m < end; m += 8) sum += widen(x(m, c));
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= x.cols) return;
  for (int y = 1; y < 8; ++y) sum += sums[y][threadIdx.x];
  part[std::ptrdiff_t{blockIdx.y} * x.cols + c] = sum;
}

inline void add_up(Stream<Cuda> s, const float* part, int splits, float alpha, const Matrix<float>& to) {
  const auto blocks = static_cast<unsigned>(ceil_div(std::int64_t{to.rows} * to.cols, std::int64_t{256}));
  add_partial_sums<<<blocks, 256, 0, s.handle>>>(part, splits, alpha, to);
  check_launch("add_partial_sums");
}

/// db[c] += sum_m x[m, c].
template <class T>
void add_column_sums(Stream<Cuda> s, Matrix<const T> x, float* db) {
  if (x.rows == 0 || x.cols == 0) return;
  const int rows_per_split = std::max(64, ceil_div(x.rows, token_splits)), splits = ceil_div(x.rows, rows_per_split);
  float* part = s.scratch->take<float>(static_cast<std::size_t>(splits) * x.cols);
  column_sums<<<dim3(ceil_div(x.cols, 32), splits), dim3(32, 8), 0, s.handle>>>(x, rows_per_split, part);
  check_launch("column_sums");
  add_up(s, part, splits, 1, Matrix<float>(db, 1, x.cols));
}

}  // namespace lamina::kernel::cuda
