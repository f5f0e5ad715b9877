#pragma once
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/cuda/elementwise/optimizer.hpp>

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

/// Each block adds up the squares of every gridDim.x-th piece; the block that comes last adds up what all have found,
/// in order, whichever it is.
static __global__ void __launch_bounds__(optimizer_threads) clip_gradients(ClipGradients a, double* parts) {
  constexpr int each = piece_elements<float>, ahead = 4;
  const std::size_t step = std::size_t{gridDim.x} * optimizer_threads, pieces = a.n / each;
  const auto* from = reinterpret_cast<const uint4*>(a.g);
  double sum = 0;
  for (std::size_t i = std::size_t{blockIdx.x} * optimizer_threads + threadIdx.x; i < pieces; i += ahead * step) {
    uint4 raw[ahead];
#pragma unroll
    for (int k = 0; k < ahead; ++k) raw[k] = i + k * step < pieces ? from[i + k * step] : uint4{};
#pragma unroll
    for (int k = 0; k < ahead; ++k) {
      float g[each];
      widen_piece<float>(raw[k], g);
#pragma unroll
      for (const float x : g) sum += static_cast<double>(x) * static_cast<double>(x);
    }
  }
  if (blockIdx.x == 0 && threadIdx.x < a.n % each) {
    const double x = a.g[pieces * each + threadIdx.x];
    sum += x * x;
  }
  sum = block_sum_double(sum);
  __shared__ bool last;
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = sum;
    __threadfence();
    last = atomicAdd(&a.clip->arrived, 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  sum = 0;
  for (int i = threadIdx.x; i < gridDim.x; i += optimizer_threads) sum += __ldcg(parts + i);
  const double norm = sqrt(block_sum_double(sum));
  if (threadIdx.x != 0) return;
  a.clip->norm = norm;
  a.clip->scale = isfinite(norm) ? static_cast<float>(clip_scale(norm, a.numbers->most)) : 0;
  a.clip->arrived = 0;
}

/// Each neighbours of a run, from its k-th on.
template <int Each, class T>
__device__ void update_values(const AdamWStep<T>& a, const OptimizerNumbers& o, const ValueRun<T>& run, int k) {
  const std::size_t i = run.first + k;
  const float scale = a.clip->scale, step_size = run.rate * o.step_size,
              kept = run.decays ? 1 - run.rate * (1 - o.decay) : 1.0f;
  float w[Each], g[Each], m[Each], v[Each];
  load_elements(a.g + i, g), load_elements(a.m + i, m), load_elements(a.v + i, v), load_elements(a.w + i, w);
#pragma unroll
  for (int e = 0; e < Each; ++e) {
    const float grad = g[e] * scale;
    m[e] = o.b1 * m[e] + o.rest1 * grad;
    v[e] = o.b2 * v[e] + o.rest2 * grad * grad;
    w[e] = w[e] * kept - step_size * m[e] / (sqrtf(v[e]) / o.v_correction + o.eps);
    g[e] = 0;
  }
  store_elements(a.m + i, m), store_elements(a.v + i, v), store_elements(a.w + i, w), store_elements(a.g + i, g);
  if (!run.to) return;
  T* to = run.copy(k);
  if constexpr (Each == 4 && sizeof(T) == 2) {
    const auto pair = [&](int e) {
      return narrow<T>(run.scale * w[e]).bits | static_cast<unsigned>(narrow<T>(run.scale * w[e + 1]).bits) << 16;
    };
    *reinterpret_cast<uint2*>(to) = make_uint2(pair(0), pair(2));
  } else {
#pragma unroll
    for (int e = 0; e < Each; ++e) to[e] = narrow<T>(run.scale * w[e]);
  }
}

/// A block per run: four values per thread, or one by one if they, or their copy, do not consist of such pieces.
template <class T>
__global__ void __launch_bounds__(optimizer_threads) adamw_step(AdamWStep<T> a) {
  constexpr int each = 4;
  const ValueRun<T> run = a.runs[blockIdx.x];
  if (!isfinite(a.clip->norm)) return;
  const OptimizerNumbers o = *a.numbers;
  const bool copies_in_pieces = run.cols % each == 0 && run.stride % each == 0 && run.within % each == 0 &&
                                reinterpret_cast<std::uintptr_t>(run.to) % (each * sizeof(T)) == 0;
  if (run.first % each == 0 && run.count % each == 0 && (!run.to || copies_in_pieces)) {
    for (int k = each * threadIdx.x; k < run.count; k += each * optimizer_threads) update_values<each>(a, o, run, k);
  } else {
    for (int k = threadIdx.x; k < run.count; k += optimizer_threads) update_values<1>(a, o, run, k);
  }
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

[[gnu::used]] inline void optimizer<Cuda>::clip(Stream<Cuda> s, const ClipGradients& a) {
  Arena::Scope scope(*s.scratch);
  double* parts = s.scratch->take<double>(blocks);
  cuda::clip_gradients<<<blocks, cuda::optimizer_threads, 0, s.handle>>>(a, parts);
  cuda::check_launch("clip_gradients");
}

template <class T>
void optimizer<Cuda>::adamw(Stream<Cuda> s, const AdamWStep<T>& a) {
  if (a.count == 0) return;
  cuda::adamw_step<T><<<a.count, cuda::optimizer_threads, 0, s.handle>>>(a);
  cuda::check_launch("adamw_step");
}

}  // namespace lamina::kernel
