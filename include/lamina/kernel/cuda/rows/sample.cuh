#pragma once
#include <cub/device/device_radix_sort.cuh>

#include <lamina/core/philox.hpp>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/rows/sample.hpp>

/// One block per chunk of logits finds its best and, if tokens are drawn, the sum of its weights; one block ends the
/// choice: it walks over the chunks' sums, then over the one chunk that holds what it looks for.
namespace lamina::kernel::cuda {

inline constexpr int sample_threads = 256, sample_chunk = sample<Cuda>::chunk,
                     sample_each = sample_chunk / sample_threads;

/// A logit and its token in one number: the larger logit, then the lower id, is larger.
using Ranked = unsigned long long;
inline constexpr Ranked not_finite = ~Ranked{0};
__device__ inline Ranked ranked(float logit, int id) {
  if (!isfinite(logit)) return not_finite;
  const unsigned bits = __float_as_uint(logit == 0 ? 0.0f : logit);
  const unsigned rising = bits >> 31 ? ~bits : bits | 0x80000000u;
  return Ranked{rising} << 32 | ~static_cast<unsigned>(id);
}
__device__ inline int id_of(Ranked r) { return r == not_finite ? -1 : static_cast<int>(~static_cast<unsigned>(r)); }
__device__ inline float logit_of(Ranked r) {
  const auto rising = static_cast<unsigned>(r >> 32);
  return __uint_as_float(rising >> 31 ? rising & 0x7fffffffu : ~rising);
}

/// op over all of the block's x, the same in every thread.
template <class Op>
__device__ Ranked block_reduce(Ranked x, Op op) {
  __shared__ Ranked part[sample_threads / warp_size];
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, offset));
  if (threadIdx.x % warp_size == 0) part[threadIdx.x / warp_size] = x;
  __syncthreads();
  x = part[0];
  for (int w = 1; w < sample_threads / warp_size; ++w) x = op(x, part[w]);
  __syncthreads();
  return x;
}
__device__ inline Ranked block_best(Ranked x) {
  return block_reduce(x, [](Ranked a, Ranked b) { return a > b ? a : b; });
}
__device__ inline Ranked block_total(Ranked x) {
  return block_reduce(x, [](Ranked a, Ranked b) { return a + b; });
}
/// The best of all chunks.
__device__ inline Ranked best_of(const Ranked* chunk_best, int chunks) {
  Ranked best = 0;
  for (int c = threadIdx.x; c < chunks; c += sample_threads) best = max(best, chunk_best[c]);
  return block_best(best);
}

/// Also numbers the tokens if they are to be sorted.
template <class T>
__global__ void __launch_bounds__(sample_threads)
    sample_best(const T* logits, int vocab, Ranked* chunk_best, int* ids) {
  let_next_start();
  wait_for_earlier();
  Ranked best = 0;
#pragma unroll
  for (int e = 0; e < sample_each; ++e) {
    const int id = blockIdx.x * sample_chunk + e * sample_threads + threadIdx.x;
    if (id >= vocab) continue;
    best = max(best, ranked(widen(logits[id]), id));
    if (ids) ids[id] = id;
  }
  best = block_best(best);
  if (threadIdx.x == 0) chunk_best[blockIdx.x] = best;
}

/// What has been found out about the logits, in the order in which they are counted off.
template <class T>
struct SampleSums {
  const T* ordered;
  const int* ids;  ///< (V) null: a place is an id
  const Ranked* chunk_best;
  Ranked* chunk_sum;
  int chunks;

  __device__ Ranked weight(const Sample<T>& a, const SamplingRule& rule, float largest, int place) const {
    if (place >= a.vocab) return 0;
    return kernel::detail::sample_weight(rule, a.order, widen(ordered[place]) - largest, place);
  }
};

template <class T>
__global__ void __launch_bounds__(sample_threads) sample_weigh(Sample<T> a, SampleSums<T> sums) {
  let_next_start();
  wait_for_earlier();
  const SamplingRule rule = *a.rule;
  const float largest = logit_of(best_of(sums.chunk_best, sums.chunks));
  Ranked sum = 0;
  for (int e = 0; e < sample_each; ++e)
    sum += sums.weight(a, rule, largest, blockIdx.x * sample_chunk + e * sample_threads + threadIdx.x);
  sum = block_total(sum);
  if (threadIdx.x == 0) sums.chunk_sum[blockIdx.x] = sum;
}

/// A place and the sum of weights up to and with it.
struct Counted {
  int place;
  Ranked sum;
};
/// The first place whose sum is above target, which is below the sum of all.
template <class T>
__device__ Counted count_off(const Sample<T>& a, const SamplingRule& rule, const SampleSums<T>& sums, float largest,
                             Ranked target) {
  __shared__ Ranked warp_sum_of[sample_threads / warp_size];
  __shared__ Counted found;
  Ranked before = 0;
  int c = 0;
  for (; c + 1 < sums.chunks && before + sums.chunk_sum[c] <= target; ++c) before += sums.chunk_sum[c];
  Ranked w[sample_each], own = 0;  // of neighbours: a thread's places come before the next one's
  const int first = c * sample_chunk + threadIdx.x * sample_each;
  for (int e = 0; e < sample_each; ++e) own += w[e] = sums.weight(a, rule, largest, first + e);
  Ranked through = own;
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const Ranked below = __shfl_up_sync(0xffffffffu, through, offset);
    if (threadIdx.x % warp_size >= offset) through += below;
  }
  if (threadIdx.x % warp_size == warp_size - 1) warp_sum_of[threadIdx.x / warp_size] = through;
  __syncthreads();
  for (int v = 0; v < threadIdx.x / warp_size; ++v) before += warp_sum_of[v];
  before += through - own;
  if (before <= target && target < before + own) {
    int e = 0;
    for (before += w[0]; before <= target; before += w[e]) ++e;
    found = {first + e, before};
  }
  __syncthreads();
  return found;
}

template <class T>
__global__ void __launch_bounds__(sample_threads) sample_choose(Sample<T> a, SampleSums<T> sums) {
  let_next_start();
  wait_for_earlier();
  const Ranked best = best_of(sums.chunk_best, sums.chunks);
  int id = id_of(best);
  if (a.order != SampleOrder::best_alone && best != not_finite) {
    const SamplingRule rule = *a.rule;
    const float largest = logit_of(best);
    Ranked mass = 0;
    for (int c = threadIdx.x; c < sums.chunks; c += sample_threads) mass += sums.chunk_sum[c];
    mass = block_total(mass);
    if (a.order == SampleOrder::by_probability)
      mass = count_off(a, rule, sums, largest, kernel::detail::nucleus_mass(rule, mass) - 1).sum;
    __syncthreads();
    const double u = uniform(rule.seed, rule.stream, static_cast<std::uint64_t>(a.state->chosen));
    id = count_off(a, rule, sums, largest, kernel::detail::sample_target(u, mass)).place;
    if (sums.ids) id = sums.ids[id];
  }
  if (threadIdx.x == 0) {
    a.told[a.state->chosen % 2] = id;
    a.state->move_on(id);
  }
}

/// The logits in falling order with their ids, equal ones by rising id: CUB's sort keeps their order, and -0 equals 0.
template <class T>
void sort_logits(Stream<Cuda> s, const Sample<T>& a, const int* ids, T* ordered, int* ordered_ids) {
  using N = typename Native<T>::type;
  const auto sort = [&](void* temporary, std::size_t& bytes) {
    check(cub::DeviceRadixSort::SortPairsDescending(temporary, bytes, reinterpret_cast<const N*>(a.logits),
                                                    reinterpret_cast<N*>(ordered), ids, ordered_ids, a.vocab, 0,
                                                    8 * static_cast<int>(sizeof(T)), s.handle),
          "sorting logits");
  };
  std::size_t bytes = 0;
  sort(nullptr, bytes);
  const std::size_t room = sample<Cuda>::sort_bytes(a.vocab);
  if (bytes > room) fail("sample: CUB wants ", bytes, " bytes to sort ", a.vocab, " logits, planned are ", room);
  sort(s.scratch->take<std::byte>(room), bytes);
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::sample<lamina::Cuda>::forward(Stream<Cuda> s, const Sample<T>& a) {
  using namespace cuda;
  Arena::Scope scope(*s.scratch);
  const int n = chunks(a.vocab);
  const bool sorted = a.order == SampleOrder::by_probability;
  auto* const chunk_best = s.scratch->take<Ranked>(n);
  auto* const ids = sorted ? s.scratch->take<int>(a.vocab) : nullptr;
  SampleSums<T> sums{.ordered = a.logits, .ids = nullptr, .chunk_best = chunk_best, .chunk_sum = nullptr, .chunks = n};
  launch_dependent(s, sample_best<T>, n, sample_threads, a.logits, a.vocab, chunk_best, ids);
  if (sorted) {
    T* const ordered = s.scratch->take<T>(a.vocab);
    int* const ordered_ids = s.scratch->take<int>(a.vocab);
    sort_logits(s, a, ids, ordered, ordered_ids);
    sums.ordered = ordered, sums.ids = ordered_ids;
  }
  if (a.order != SampleOrder::best_alone) {
    sums.chunk_sum = s.scratch->take<Ranked>(n);
    launch_dependent(s, sample_weigh<T>, n, sample_threads, a, sums);
  }
  launch_dependent(s, sample_choose<T>, 1, sample_threads, a, sums);
  check_launch("sample");
}
