#pragma once
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/cuda/optimizer/optimizer.hpp>

namespace lamina::kernel::cuda {

inline constexpr int optimizer_threads = 256;

/// The sum over a block, in double, in a fixed order; in its first thread.
__device__ inline double block_sum_double(double x) {
  __shared__ double part[optimizer_threads / warp_size];
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  if (threadIdx.x % warp_size == 0) part[threadIdx.x / warp_size] = x;
  __syncthreads();
  double sum = 0;
  for (const double p : part) sum += p;
  __syncthreads();  // the next call writes part again
  return sum;
}

/// (g * scale)^2 + 1e-30
__device__ inline float adafactor_square(const AdafactorTensor& a, std::size_t i) {
  const float g = a.g[i] * a.clip->scale;
  return g * g + adafactor_eps;
}

/// R: a block per row.
static __global__ void __launch_bounds__(optimizer_threads) adafactor_rows(AdafactorTensor a) {
  if (!isfinite(a.clip->norm)) return;
  const std::size_t first = std::size_t{blockIdx.x} * a.cols;
  double sum = 0;
  for (int c = threadIdx.x; c < a.cols; c += optimizer_threads) sum += adafactor_square(a, first + c);
  sum = block_sum_double(sum);
  if (threadIdx.x != 0) return;
  const OptimizerNumbers o = *a.numbers;
  a.row[blockIdx.x] = o.b2 * a.row[blockIdx.x] + o.rest2 * static_cast<float>(sum / a.cols);
}

/// Sums of columns over every gridDim.y-th row: parts (gridDim.y, matrices, cols). A thread per column.
static __global__ void __launch_bounds__(optimizer_threads) adafactor_column_parts(AdafactorTensor a, float* parts) {
  const std::size_t column = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x,
                    columns = std::size_t(a.matrices) * a.cols;
  if (column >= columns || !isfinite(a.clip->norm)) return;
  const std::size_t matrix = column / a.cols, first = matrix * a.rows * a.cols + column % a.cols;
  float sum = 0;
  for (std::size_t r = blockIdx.y; r < std::size_t(a.rows); r += gridDim.y)
    sum += adafactor_square(a, first + r * a.cols);
  parts[blockIdx.y * columns + column] = sum;
}

/// C, from those sums.
static __global__ void __launch_bounds__(optimizer_threads)
    adafactor_columns(AdafactorTensor a, const float* parts, int splits) {
  const std::size_t column = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x,
                    columns = std::size_t(a.matrices) * a.cols;
  if (column >= columns || !isfinite(a.clip->norm)) return;
  float sum = 0;
  for (int i = 0; i < splits; ++i) sum += parts[i * columns + column];
  a.col[column] = a.numbers->b2 * a.col[column] + a.numbers->rest2 * (sum / a.rows);
}

/// The mean of R in each matrix: a block per matrix.
static __global__ void __launch_bounds__(optimizer_threads) adafactor_row_mean(AdafactorTensor a, float* means) {
  if (!isfinite(a.clip->norm)) return;
  double sum = 0;
  for (int r = threadIdx.x; r < a.rows; r += optimizer_threads) sum += a.row[std::size_t{blockIdx.x} * a.rows + r];
  sum = block_sum_double(sum);
  if (threadIdx.x == 0) means[blockIdx.x] = static_cast<float>(sum / a.rows);
}

/// g = u before it is limited; parts: each block's sum of u^2.
static __global__ void __launch_bounds__(optimizer_threads)
    adafactor_update(AdafactorTensor a, std::size_t count, const float* means, double* parts) {
  if (!isfinite(a.clip->norm)) return;
  const OptimizerNumbers o = *a.numbers;
  const std::size_t each = std::size_t(a.rows) * a.cols, step = std::size_t{gridDim.x} * optimizer_threads;
  double sum = 0;
  for (std::size_t i = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x; i < count; i += step) {
    float factor;
    if (a.all) {
      factor = rsqrtf(a.all[i] = o.b2 * a.all[i] + o.rest2 * adafactor_square(a, i));
    } else {
      const std::size_t matrix = i / each, row = i / a.cols;
      factor = rsqrtf(a.row[row] / means[matrix]) * rsqrtf(a.col[matrix * a.cols + i % a.cols]);
    }
    const float u = a.g[i] * a.clip->scale * factor;
    a.g[i] = u;
    sum += static_cast<double>(u) * u;
  }
  sum = block_sum_double(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/// g = u / max(1, root mean square of u).
static __global__ void __launch_bounds__(optimizer_threads)
    adafactor_limit(AdafactorTensor a, std::size_t count, const double* parts) {
  if (!isfinite(a.clip->norm)) return;
  __shared__ float most;
  double sum = 0;
  for (int i = threadIdx.x; i < gridDim.x; i += optimizer_threads) sum += parts[i];
  sum = block_sum_double(sum);
  if (threadIdx.x == 0) most = fmaxf(1, static_cast<float>(sqrt(sum / static_cast<double>(count))));
  __syncthreads();
  const std::size_t step = std::size_t{gridDim.x} * optimizer_threads;
  for (std::size_t i = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x; i < count; i += step) a.g[i] /= most;
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

[[gnu::used]] inline void optimizer<Cuda>::adafactor(Stream<Cuda> s, const AdafactorTensor& a) {
  using namespace cuda;
  if (a.count() == 0) return;
  auto* const parts = reinterpret_cast<double*>(a.work);
  auto* const means = reinterpret_cast<float*>(parts + blocks);
  if (!a.all) {
    const std::size_t columns = std::size_t(a.matrices) * a.cols;
    float* const sums = means + a.matrices;
    const auto wide = static_cast<unsigned>((columns + optimizer_threads - 1) / optimizer_threads);
    adafactor_rows<<<a.matrices * a.rows, optimizer_threads, 0, s.handle>>>(a);
    adafactor_column_parts<<<dim3(wide, splits), optimizer_threads, 0, s.handle>>>(a, sums);
    adafactor_columns<<<wide, optimizer_threads, 0, s.handle>>>(a, sums, splits);
    adafactor_row_mean<<<a.matrices, optimizer_threads, 0, s.handle>>>(a, means);
  }
  const auto grid =
      static_cast<unsigned>(std::min<std::size_t>(blocks, (a.count() + optimizer_threads - 1) / optimizer_threads));
  adafactor_update<<<grid, optimizer_threads, 0, s.handle>>>(a, a.count(), means, parts);
  adafactor_limit<<<grid, optimizer_threads, 0, s.handle>>>(a, a.count(), parts);
  check_launch("adafactor");
}

}  // namespace lamina::kernel
