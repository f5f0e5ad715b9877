#pragma once
#include <lamina/kernel/cuda/launch.cuh>
#include <lamina/kernel/cuda/optimizer.hpp>

namespace lamina::kernel::cuda {

inline constexpr int optimizer_threads = 256;

/// The sum over a block, in double, in a fixed order.
__device__ inline double block_sum_double(double x) {
  __shared__ double part[optimizer_threads];
  part[threadIdx.x] = x;
  __syncthreads();
  for (int half = optimizer_threads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    __syncthreads();
  }
  return part[0];
}

/// parts[block] = the sum of squares of every gridDim.x-th run of the gradients.
static __global__ void square_sums(const float* g, std::size_t n, double* parts) {
  double sum = 0;
  const std::size_t step = std::size_t{gridDim.x} * optimizer_threads;
  for (std::size_t i = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x; i < n; i += step)
    sum += static_cast<double>(g[i]) * static_cast<double>(g[i]);
  sum = block_sum_double(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

static __global__ void finish_clip(const double* parts, int count, double most, Clip* clip) {
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += optimizer_threads) sum += parts[i];
  sum = block_sum_double(sum);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(sum);
  clip->norm = norm;
  clip->scale = isfinite(norm) ? static_cast<float>(clip_scale(norm, most)) : 0;
}

template <class T>
__global__ void adamw_step(AdamWStep<T> a) {
  if (!isfinite(a.clip->norm)) return;
  const float scale = a.clip->scale;
  const std::size_t step = std::size_t{gridDim.x} * optimizer_threads;
  for (std::size_t i = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x; i < a.n; i += step) {
    const float grad = a.g[i] * scale;
    const float m = a.b1 * a.m[i] + a.rest1 * grad, v = a.b2 * a.v[i] + a.rest2 * grad * grad;
    const float w = a.w[i] * (i < a.decayed ? a.decay : 1.0f) - a.step_size * m / (sqrtf(v) / a.v_correction + a.eps);
    a.m[i] = m;
    a.v[i] = v;
    a.w[i] = w;
    a.g[i] = 0;
    if (a.copy) a.copy[i] = narrow<T>(w);
  }
}

/// One row of blocks a matrix.
template <class T>
__global__ void copy_folded_matrices(FoldedCopies<T> a) {
  const FoldedCopy<T> c = a.table[blockIdx.y];
  const int n = c.rows * c.cols;
  for (int i = blockIdx.x * optimizer_threads + threadIdx.x; i < n; i += gridDim.x * optimizer_threads)
    c.to[i / c.cols * c.stride + i % c.cols] = narrow<T>(c.scale * c.from[i]);
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

[[gnu::used]] inline void optimizer<Cuda>::clip(Stream<Cuda> s, const ClipGradients& a) {
  Arena::Scope scope(*s.scratch);
  double* parts = s.scratch->take<double>(blocks);
  cuda::square_sums<<<blocks, cuda::optimizer_threads, 0, s.handle>>>(a.g, a.n, parts);
  cuda::check_launch("square_sums");
  cuda::finish_clip<<<1, cuda::optimizer_threads, 0, s.handle>>>(parts, blocks, a.most, a.clip);
  cuda::check_launch("finish_clip");
}

template <class T>
void optimizer<Cuda>::adamw(Stream<Cuda> s, const AdamWStep<T>& a) {
  if (a.n == 0) return;
  const std::size_t wanted = (a.n + cuda::optimizer_threads - 1) / cuda::optimizer_threads;
  const auto grid = static_cast<unsigned>(std::min<std::size_t>(wanted, 8 * s.device->multiprocessors()));
  cuda::adamw_step<T><<<grid, cuda::optimizer_threads, 0, s.handle>>>(a);
  cuda::check_launch("adamw_step");
}

template <class T>
void optimizer<Cuda>::copy_folded(Stream<Cuda> s, const FoldedCopies<T>& a) {
  if (a.count == 0) return;
  cuda::copy_folded_matrices<T><<<dim3(16, a.count), cuda::optimizer_threads, 0, s.handle>>>(a);
  cuda::check_launch("copy_folded_matrices");
}

}  // namespace lamina::kernel

#define LAMINA_CUDA_OPTIMIZER(prefix, T)                                                                     \
  prefix void lamina::kernel::optimizer<lamina::Cuda>::copy_folded<T>(Stream<Cuda>, const FoldedCopies<T>&); \
  prefix void lamina::kernel::optimizer<lamina::Cuda>::adamw<T>(Stream<Cuda>, const AdamWStep<T>&)
