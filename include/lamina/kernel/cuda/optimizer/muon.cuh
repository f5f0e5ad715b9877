#pragma once
#include <lamina/kernel/cuda/device/device.hpp>
#include <lamina/kernel/cuda/matmul/matmul.hpp>
#include <lamina/kernel/cuda/optimizer/adafactor.cuh>
#include <lamina/kernel/cuda/optimizer/optimizer.hpp>

namespace lamina::kernel::cuda {

/// The place in X, with at least as many columns as rows, of element i of the gradient.
__device__ inline std::size_t muon_place(const MuonTensor& t, std::size_t i, std::ptrdiff_t stride) {
  const std::size_t row = i / t.cols, col = i % t.cols;
  return t.rows <= t.cols ? row * stride + col : col * stride + row;
}

/// m, X before it is divided by its norm, and each block's sum of squares of X.
static __global__ void __launch_bounds__(optimizer_threads) muon_start(MuonTensor t, Matrix<bf16> x, double* parts) {
  if (!isfinite(t.clip->norm)) return;
  const std::size_t count = std::size_t(t.rows) * t.cols, step = std::size_t{gridDim.x} * optimizer_threads;
  const float scale = t.clip->scale;
  double sum = 0;
  for (std::size_t i = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x; i < count; i += step) {
    const float g = t.g[i] * scale, m = MuonTensor::momentum * t.m[i] + g;
    t.m[i] = m;
    const bf16 first = narrow<bf16>(g + MuonTensor::momentum * m);
    x.data[muon_place(t, i, x.stride)] = first;
    const double value = to_f32(first);
    sum += value * value;
  }
  sum = block_sum_double(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

/// X / (|X| + eps), and zeros behind its rows.
static __global__ void __launch_bounds__(optimizer_threads)
    muon_normalise(MuonTensor t, Matrix<bf16> x, const double* parts, int count) {
  if (!isfinite(t.clip->norm)) return;
  __shared__ float norm;
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += optimizer_threads) sum += parts[i];
  sum = block_sum_double(sum);
  if (threadIdx.x == 0)
    norm = to_f32(narrow<bf16>(to_f32(narrow<bf16>(static_cast<float>(sqrt(sum)))) + MuonTensor::eps));
  __syncthreads();
  const std::size_t all = std::size_t(x.rows) * x.stride, step = std::size_t{gridDim.x} * optimizer_threads;
  for (std::size_t i = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x; i < all; i += step)
    x.data[i] = narrow<bf16>(i % x.stride < std::size_t(x.cols) ? to_f32(x.data[i]) / norm : 0.0f);
}

/// g = 0.2 sqrt(max(rows, cols)) X
static __global__ void __launch_bounds__(optimizer_threads) muon_end(MuonTensor t, Matrix<bf16> x, float scale) {
  if (!isfinite(t.clip->norm)) return;
  const std::size_t count = std::size_t(t.rows) * t.cols, step = std::size_t{gridDim.x} * optimizer_threads;
  for (std::size_t i = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x; i < count; i += step)
    t.g[i] = scale * to_f32(x.data[muon_place(t, i, x.stride)]);
}

/// Matrices of Muon in an arena. Rows are padded to whole 16-byte pieces.
struct MuonMatrices {
  Matrix<bf16> x, y, square, sum;
  double* parts;
  MuonMatrices(Arena& work, const MuonTensor& t) {
    const int rows = std::min(t.rows, t.cols), cols = std::max(t.rows, t.cols);
    const auto take = [&](int width) {
      const int stride = (width + 7) / 8 * 8;
      return Matrix<bf16>(work.take<bf16>(std::size_t(rows) * stride), rows, width, stride);
    };
    x = take(cols), y = take(cols), square = take(rows), sum = take(rows);
    parts = work.take<double>(optimizer<Cuda>::blocks);
  }
  static Weight factor(const Matrix<bf16>& w) { return {w.data, DType::BF16, w.rows, w.cols, w.stride}; }
  MatmulFwd<bf16> squared() const { return {.x = x, .w = factor(x), .y = square}; }
  MatmulFwd<bf16> summed() const {
    return {.x = square, .w = factor(square), .y = sum, .alpha = MuonTensor::c, .beta = MuonTensor::b};
  }
  MatmulBwdInput<bf16> applied() const { return {.dy = sum, .w = factor(x), .dx = y, .beta = MuonTensor::a}; }
};

inline void copy_matrix(Stream<Cuda> s, const Matrix<bf16>& to, const Matrix<bf16>& from) {
  check(cudaMemcpyAsync(to.data, from.data, std::size_t(from.rows) * from.stride * sizeof(bf16),
                        cudaMemcpyDeviceToDevice, s.handle),
        "cudaMemcpyAsync");
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

/// Three products per iteration; a, b and c are their alpha and beta, so that less is rounded than torch rounds.
[[gnu::used]] inline void optimizer<Cuda>::muon(Stream<Cuda> s, const MuonTensor& t) {
  using namespace cuda;
  Arena::Scope scope(*t.work);
  MuonMatrices at(*t.work, t);
  s.scratch = t.work;  // of the products
  const auto grid =
      static_cast<unsigned>(std::min<std::size_t>(blocks, (t.count() + optimizer_threads - 1) / optimizer_threads));
  muon_start<<<grid, optimizer_threads, 0, s.handle>>>(t, at.x, at.parts);
  muon_normalise<<<grid, optimizer_threads, 0, s.handle>>>(t, at.x, at.parts, static_cast<int>(grid));
  check_launch("muon_start");
  for (int i = 0; i < MuonTensor::iterations; ++i) {
    matmul<Cuda>::forward(s, at.squared());
    copy_matrix(s, at.sum, at.square);
    matmul<Cuda>::forward(s, at.summed());
    copy_matrix(s, at.y, at.x);
    matmul<Cuda>::backward_input(s, at.applied());
    std::swap(at.x, at.y);
  }
  muon_end<<<grid, optimizer_threads, 0, s.handle>>>(t, at.x, t.scale());
  check_launch("muon_end");
}
[[gnu::used]] inline std::size_t optimizer<Cuda>::muon_bytes(const MuonTensor& t) {
  Arena counting;
  const cuda::MuonMatrices at(counting, t);
  const std::size_t products =
      std::max({matmul<Cuda>::workspace_bytes(at.squared()), matmul<Cuda>::workspace_bytes(at.summed()),
                matmul<Cuda>::workspace_bytes(at.applied())});
  return counting.used_bytes() + products + Arena::alignment;
}

}  // namespace lamina::kernel
