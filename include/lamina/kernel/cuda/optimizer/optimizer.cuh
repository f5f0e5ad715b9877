#pragma once
#include <lamina/kernel/cuda/optimizer/adafactor.cuh>
#include <lamina/kernel/cuda/optimizer/muon.cuh>
#include <lamina/kernel/cuda/optimizer/optimizer.hpp>
#include <lamina/kernel/optimizer/at_random.hpp>
#include <lamina/kernel/optimizer/dynamic_map.hpp>
#include <lamina/kernel/optimizer/rules.hpp>

namespace lamina::kernel::cuda {

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

static __global__ void join_clips(JoinClips a) { *a.clip = joined(a); }

/// Writes the copies of Each neighbours, from a run's k-th on.
template <int Each, class T>
__device__ void write_copies(const ValueRun<T>& run, int k, const float (&w)[Each]) {
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

__device__ inline float kept_of(const auto& run, const OptimizerNumbers& o) {
  return run.decays ? 1 - run.rate * (1 - o.decay) : 1.0f;
}

/// Each neighbours of a run, from its k-th on.
template <class Rule, int Each, class T>
__device__ void update_values(const UpdateStep<T>& a, const OptimizerNumbers& o, const ValueRun<T>& run, int k) {
  const std::size_t i = run.first + k, at = run.state + k;
  const float scale = a.clip->scale, kept = kept_of(run, o);
  float w[Each], g[Each], m[Each] = {}, v[Each] = {};
  load_elements(a.g + i, g), load_elements(a.w + i, w);
  if (Rule::moments > 0) load_elements(a.m + at, m);
  if (Rule::moments > 1) load_elements(a.v + at, v);
#pragma unroll
  for (int e = 0; e < Each; ++e) {
    Rule::update(w[e], g[e] * scale, m[e], v[e], o, run.rate, kept);
    g[e] = 0;
  }
  if (Rule::moments > 0) store_elements(a.m + at, m);
  if (Rule::moments > 1) store_elements(a.v + at, v);
  store_elements(a.w + i, w), store_elements(a.g + i, g);
  write_copies(run, k, w);
}

/// A block per run: four values per thread, or one by one if they, or their copy, do not consist of such pieces.
template <class Rule, class T>
__global__ void __launch_bounds__(optimizer_threads) optimizer_update(UpdateStep<T> a) {
  constexpr int each = 4;
  const ValueRun<T> run = a.runs[blockIdx.x];
  if (!isfinite(a.clip->norm)) return;
  const OptimizerNumbers o = *a.numbers;
  const bool copies_in_pieces = run.cols % each == 0 && run.stride % each == 0 && run.within % each == 0 &&
                                reinterpret_cast<std::uintptr_t>(run.to) % (each * sizeof(T)) == 0;
  if (run.first % each == 0 && run.state % each == 0 && run.count % each == 0 && (!run.to || copies_in_pieces)) {
    for (int k = each * threadIdx.x; k < run.count; k += each * optimizer_threads)
      update_values<Rule, each>(a, o, run, k);
  } else {
    for (int k = threadIdx.x; k < run.count; k += optimizer_threads) update_values<Rule, 1>(a, o, run, k);
  }
}

/// The largest of a block's values, in each of its threads.
__device__ inline float block_most(float x) {
  __shared__ float part[optimizer_threads / warp_size];
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  if (threadIdx.x % warp_size == 0) part[threadIdx.x / warp_size] = x;
  __syncthreads();
  float most = 0;
  for (const float p : part) most = fmaxf(most, p);
  __syncthreads();  // the next call writes part again
  return most;
}

/// A block per run, a value per thread: the threads hold a block of moments at a time.
template <class Rule, class T>
__global__ void __launch_bounds__(optimizer_threads) optimizer_update_8bit(UpdateStep8Bit<T> a) {
  static_assert(optimizer_threads == dynamic_block);
  __shared__ float m_codes[dynamic_codes], v_codes[dynamic_codes];
  m_codes[threadIdx.x] = a.m_codes[threadIdx.x];
  if (Rule::moments > 1) v_codes[threadIdx.x] = a.v_codes[threadIdx.x];
  __syncthreads();
  if (!isfinite(a.clip->norm)) return;
  const ValueRun<T> run = a.runs[blockIdx.x];
  const OptimizerNumbers o = *a.numbers;
  const float scale = a.clip->scale, kept = kept_of(run, o);
  for (int first = 0; first < run.count; first += dynamic_block) {
    const int k = first + threadIdx.x;
    const bool here = k < run.count;
    const std::size_t i = run.first + k, at = run.state + k, block = (run.state + first) / dynamic_block;
    float w[1] = {}, m = 0, v = 0;
    if (here) {
      m = m_codes[a.m[at]] * a.m_most[block];
      if (Rule::moments > 1) v = v_codes[a.v[at]] * a.v_most[block];
      w[0] = a.w[i];
      Rule::update(w[0], a.g[i] * scale, m, v, o, run.rate, kept);
      a.w[i] = w[0], a.g[i] = 0;
      write_copies(run, k, w);
    }
    const float m_most = block_most(fabsf(m)), v_most = Rule::moments > 1 ? block_most(v) : 0;  // all have read theirs
    if (threadIdx.x == 0) a.m_most[block] = m_most;
    if (threadIdx.x == 0 && Rule::moments > 1) a.v_most[block] = v_most;
    if (!here) continue;
    a.m[at] = nearest_signed_code(m_most > 0 ? m / m_most : 0, m_codes);
    if (Rule::moments > 1) a.v[at] = nearest_code(v_most > 0 ? v / v_most : 0, v_codes);
  }
}

/// A block per run.
template <class Rule, class T>
__global__ void __launch_bounds__(optimizer_threads) optimizer_update_bf16(UpdateStepBf16<T> a) {
  if (!isfinite(a.clip->norm)) return;
  const ValueRun<T> run = a.runs[blockIdx.x];
  const OptimizerNumbers o = *a.numbers;
  for (int k = threadIdx.x; k < run.count; k += optimizer_threads) update_value<Rule>(a, o, run, k);
}

static __global__ void mark_clipped(Clip* clip) { clip->scale = 1; }

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

[[gnu::used]] inline void optimizer<Cuda>::clip(Stream<Cuda> s, const ClipGradients& a) {
  Arena::Scope scope(*s.scratch);
  double* parts = s.scratch->take<double>(blocks);
  cuda::clip_gradients<<<blocks, cuda::optimizer_threads, 0, s.handle>>>(a, parts);
  cuda::check_launch("clip_gradients");
}

[[gnu::used]] inline void optimizer<Cuda>::clipped(Stream<Cuda> s, Clip* clip) {
  cuda::mark_clipped<<<1, 1, 0, s.handle>>>(clip);
  cuda::check_launch("mark_clipped");
}
[[gnu::used]] inline void optimizer<Cuda>::join(Stream<Cuda> s, const JoinClips& a) {
  cuda::join_clips<<<1, 1, 0, s.handle>>>(a);
  cuda::check_launch("join_clips");
}

template <class T>
void optimizer<Cuda>::update(Stream<Cuda> s, OptimizerKind kind, const UpdateStep<T>& a) {
  if (a.count == 0) return;
  with_rule(kind, [&]<class Rule>(Rule) {
    cuda::optimizer_update<Rule><<<a.count, cuda::optimizer_threads, 0, s.handle>>>(a);
  });
  cuda::check_launch("optimizer_update");
}

template <class T>
void optimizer<Cuda>::update_bf16(Stream<Cuda> s, OptimizerKind kind, const UpdateStepBf16<T>& a) {
  if (a.count == 0) return;
  with_rule(kind, [&]<class Rule>(Rule) {
    cuda::optimizer_update_bf16<Rule><<<a.count, cuda::optimizer_threads, 0, s.handle>>>(a);
  });
  cuda::check_launch("optimizer_update_bf16");
}

template <class T>
void optimizer<Cuda>::update_8bit(Stream<Cuda> s, OptimizerKind kind, const UpdateStep8Bit<T>& a) {
  if (a.count == 0) return;
  with_rule(kind, [&]<class Rule>(Rule) {
    cuda::optimizer_update_8bit<Rule><<<a.count, cuda::optimizer_threads, 0, s.handle>>>(a);
  });
  cuda::check_launch("optimizer_update_8bit");
}

}  // namespace lamina::kernel
