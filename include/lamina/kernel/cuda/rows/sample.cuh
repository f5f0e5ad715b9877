#pragma once
#include <type_traits>

#include <lamina/core/random/philox.hpp>
#include <lamina/kernel/cuda/device/cluster.cuh>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/device/mma.cuh>
#include <lamina/kernel/cuda/rows/sample.hpp>

/// Tokens of many sequences, each by its own rule: one block per row of logits, with helpers that find the best of
/// their share of the tiles if there are few rows.
///
/// A row is read as tiles of 256 neighbouring ids, a tile by one warp. The best of every tile bounds what the k-th best
/// logit can be: of all logits only those above the bound are sorted, usually a few more than k. If too many equal
/// logits are above it, or the wanted mass is not among the sorted ones, the place is found by bisection of the logits'
/// bits instead, which is slower and needs no order.
namespace lamina::kernel::cuda {

inline constexpr int choice_threads = 1024, choice_warps = choice_threads / warp_size, tile_each = 8,
                     tile_ids = tile_each * warp_size, most_tiles = 1024, most_sorted = 2048;

/// A logit, finite or -inf, and its token in one number: the larger logit, then the lower id, is larger.
using Ranked = unsigned long long;
inline constexpr Ranked not_finite = ~Ranked{0};
/// A number that is larger for a larger logit, above 0; the same for both zeros.
__device__ inline unsigned rising(float logit) {
  const unsigned bits = __float_as_uint(logit == 0 ? 0.0f : logit);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ inline Ranked ranked(float logit, int id) {
  return Ranked{rising(logit)} << 32 | ~static_cast<unsigned>(id);
}
__device__ inline int id_of(Ranked r) { return static_cast<int>(~static_cast<unsigned>(r)); }
__device__ inline float logit_of(Ranked r) {
  const auto bits = static_cast<unsigned>(r >> 32);
  return __uint_as_float(bits >> 31 ? bits & 0x7fffffffu : ~bits);
}

/// A place and the sum of weights up to and with it.
struct Counted {
  int place;
  Ranked sum;
};

struct SampleShared {
  Ranked tile[most_tiles];     ///< of every tile: its best logit, a sum of weights or a count
  Ranked sorted[most_sorted];  ///< logits in falling order
  Ranked sum[most_sorted];     ///< of their weights up to a place
  Ranked warp[choice_warps];
  Ranked found;
  Counted place;
  int count;
};

/// op over the block's x, the same in every thread.
template <class Op>
__device__ Ranked row_reduce(SampleShared& shared, Ranked x, Op op) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, offset));
  if (threadIdx.x % warp_size == 0) shared.warp[threadIdx.x / warp_size] = x;
  __syncthreads();
  x = shared.warp[threadIdx.x % warp_size];
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, offset));
  __syncthreads();
  return x;
}
__device__ inline Ranked row_best(SampleShared& shared, Ranked x) {
  return row_reduce(shared, x, [](Ranked a, Ranked b) { return a > b ? a : b; });
}
__device__ inline Ranked row_total(SampleShared& shared, Ranked x) {
  return row_reduce(shared, x, [](Ranked a, Ranked b) { return a + b; });
}
__device__ inline Ranked warp_prefix(Ranked x) {
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const Ranked below = __shfl_up_sync(0xffffffffu, x, offset);
    if (threadIdx.x % warp_size >= offset) x += below;
  }
  return x;
}
/// The sum of x over this thread and those before it.
__device__ inline Ranked row_prefix(SampleShared& shared, Ranked x) {
  const int warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size;
  x = warp_prefix(x);
  if (lane == warp_size - 1) shared.warp[warp] = x;
  __syncthreads();
  const Ranked before = warp_prefix(shared.warp[lane]);
  x += warp == 0 ? 0 : __shfl_sync(0xffffffffu, before, warp - 1);
  __syncthreads();
  return x;
}

/// A row of logits, and everything that is asked of all of it.
template <class T>
struct SampleRow {
  const T* logits;
  int vocab, tiles;
  bool adjusted;  ///< -inf excludes a token
  SamplingRule rule;
  SampleOrder order;
  int chosen;
  int share, shares;  ///< which block of the row's this is; the first one draws
  SampleShared& shared;

  /// f(id, logit) for this lane's ids of a tile, in rising order.
  template <class F>
  __device__ void each_of_tile(int tile, F f) const {
    const int first = tile * tile_ids + threadIdx.x % warp_size * tile_each;
    if (first >= vocab) return;
    constexpr int piece = piece_elements<T>;
    if (first + tile_each <= vocab && reinterpret_cast<std::uintptr_t>(logits + first) % 16 == 0) {
#pragma unroll
      for (int p = 0; p < tile_each; p += piece) {
        float x[piece];
        load_piece(logits + first + p, x);
#pragma unroll
        for (int e = 0; e < piece; ++e) f(first + p + e, x[e]);
      }
    } else {
      for (int id = first; id < min(first + tile_each, vocab); ++id) f(id, widen(logits[id]));
    }
  }
  /// This lane's logits of a tile, -inf for ids that the row does not have.
  __device__ void load_tile(int tile, float (&x)[tile_each]) const {
#pragma unroll
    for (float& v : x) v = -INFINITY;
    const int first = tile * tile_ids + threadIdx.x % warp_size * tile_each;
    constexpr int piece = piece_elements<T>;
    if (first + tile_each <= vocab && reinterpret_cast<std::uintptr_t>(logits + first) % 16 == 0) {
#pragma unroll
      for (int p = 0; p < tile_each; p += piece)
        load_piece(logits + first + p, reinterpret_cast<float(&)[piece]>(x[p]));
    } else {
#pragma unroll
      for (int e = 0; e < tile_each; ++e)
        if (first + e < vocab) x[e] = widen(logits[first + e]);
    }
  }
  __device__ void find_best(int tile, const float (&x)[tile_each]) const {
    const int first = tile * tile_ids + threadIdx.x % warp_size * tile_each;
    float best = x[0];
    bool right = true;
#pragma unroll
    for (int e = 0; e < tile_each; ++e) {
      best = fmaxf(best, x[e]);
      right &= isfinite(x[e]) || (x[e] == -INFINITY && (adjusted || first + e >= vocab));
    }
    const unsigned best_of_warp = __reduce_max_sync(0xffffffffu, rising(best));
    const unsigned lanes = __ballot_sync(0xffffffffu, rising(best) == best_of_warp);
    right = __all_sync(0xffffffffu, right);
    if (threadIdx.x % warp_size != __ffs(lanes) - 1) return;
    int at = 0;
#pragma unroll
    for (int e = tile_each - 1; e >= 0; --e)
      if (x[e] == best) at = e;
    const Ranked found = right ? ranked(best, first + at) : not_finite;
    if (shares == 1)
      shared.tile[tile] = found;
    else
      Cluster::store(Cluster::in_block(shared_address(&shared.tile[tile]), 0), found);
  }
  /// f(id, logit) for all this thread's ids.
  template <class F>
  __device__ void each(F f) const {
    for (int tile = threadIdx.x / warp_size; tile < tiles; tile += choice_warps) each_of_tile(tile, f);
  }
  /// tile[t] = op over f(id, logit) of a tile's ids.
  template <class F, class Op>
  __device__ void reduce_tiles(F f, Op op) const {
    for (int tile = threadIdx.x / warp_size; tile < tiles; tile += choice_warps) {
      Ranked own = 0;
      each_of_tile(tile, [&](int id, float x) { own = op(own, f(id, x)); });
      for (int offset = warp_size / 2; offset > 0; offset /= 2)
        own = op(own, __shfl_xor_sync(0xffffffffu, own, offset));
      if (threadIdx.x % warp_size == 0) shared.tile[tile] = own;
    }
    __syncthreads();
  }
  /// tile[t] = the best of a tile's logits, or not_finite, in the first block. Here the whole row is read: several
  /// tiles are asked for at once, and a tile costs few instructions.
  __device__ void find_best_of_tiles() const {
    constexpr int at_once = 5;
    const int step = choice_warps * shares;
    if (shares > 1) Cluster::arrive(), Cluster::wait();  // the first block is there
    for (int first = share * choice_warps + threadIdx.x / warp_size; first < tiles; first += at_once * step) {
      float x[at_once][tile_each];
#pragma unroll
      for (int i = 0; i < at_once; ++i) load_tile(first + i * step, x[i]);
#pragma unroll
      for (int i = 0; i < at_once; ++i)
        if (first + i * step < tiles) find_best(first + i * step, x[i]);
    }
    if (shares == 1) return __syncthreads();
    Cluster::arrive();
    Cluster::wait();
  }
  __device__ Ranked weight(float largest, float x, int place = 0) const {
    return kernel::detail::sample_weight(rule, order, x - largest, place);
  }

  /// What the draw looks for in a sum of `mass`.
  __device__ Ranked target(Ranked mass) const {
    const double u = uniform(rule.seed, rule.stream, static_cast<std::uint64_t>(chosen));
    return kernel::detail::sample_target(u, mass);
  }

  /// The first id, in rising order, at which the sum of f(id, logit) exceeds target.
  template <class F>
  __device__ int find_by_id(Ranked target, F f) const {
    reduce_tiles(f, [](Ranked a, Ranked b) { return a + b; });
    const Ranked own = threadIdx.x < tiles ? shared.tile[threadIdx.x] : 0, through = row_prefix(shared, own);
    if (through - own <= target && target < through) {
      shared.count = threadIdx.x;
      shared.found = through - own;
    }
    __syncthreads();
    if (threadIdx.x < warp_size) {
      Ranked lane = 0;
      each_of_tile(shared.count, [&](int id, float x) { lane += f(id, x); });
      Ranked sum = shared.found + warp_prefix(lane) - lane;
      each_of_tile(shared.count, [&](int id, float x) {
        const Ranked before = sum;
        sum += f(id, x);
        if (before <= target && target < sum) shared.place.place = id;
      });
    }
    __syncthreads();
    return shared.place.place;
  }
};

/// Sorts the first n (a power of two) in falling order.
__device__ inline void sort_falling(Ranked* x, int n) {
  for (int size = 2; size <= n; size *= 2)
    for (int stride = size / 2; stride > 0; stride /= 2) {
      for (int i = threadIdx.x; i < n / 2; i += choice_threads) {
        const int low = 2 * i - (i & (stride - 1)), high = low + stride;
        const Ranked a = x[low], b = x[high];
        if ((a < b) == ((low & size) == 0)) x[low] = b, x[high] = a;
      }
      __syncthreads();
    }
}
__device__ inline int power_of_two_from(int n) { return n <= 1 ? 1 : 1 << (32 - __clz(n - 1)); }

/// Sorts the k best logits, k at most the number of tiles, and perhaps some more into shared.sorted, but none of an
/// excluded token. Returns how many, 0 if they are too many. tile holds the best of every tile.
template <class T>
__device__ int sort_best(const SampleRow<T>& row, int k) {
  static_assert(most_tiles <= choice_threads);
  SampleShared& shared = row.shared;
  const unsigned own = threadIdx.x < row.tiles ? shared.tile[threadIdx.x] >> 32 : 0;
  unsigned bound = 0;  // becomes the largest that the best of k tiles reach
  for (int bit = 31; bit >= 0; --bit)
    if (__syncthreads_count(own >= (bound | 1u << bit)) >= k) bound |= 1u << bit;
  if (threadIdx.x == 0) shared.count = 0;
  __syncthreads();
  for (int tile = threadIdx.x / warp_size; tile < row.tiles; tile += choice_warps) {
    if (shared.tile[tile] >> 32 < bound) continue;
    row.each_of_tile(tile, [&](int id, float x) {
      if (rising(x) < bound || x == -INFINITY) return;
      const int at = atomicAdd(&shared.count, 1);
      if (at < most_sorted) shared.sorted[at] = ranked(x, id);
    });
  }
  __syncthreads();
  const int count = shared.count;
  if (count > most_sorted) return 0;
  const int m = power_of_two_from(count);
  for (int i = count + threadIdx.x; i < m; i += choice_threads) shared.sorted[i] = 0;
  __syncthreads();
  sort_falling(shared.sorted, m);
  return count;
}

/// The first of `count` sorted places whose sum of weights is above target; place -1 if none is.
__device__ inline Counted find_sorted(SampleShared& shared, int count, Ranked target) {
  if (threadIdx.x == 0) shared.place = {-1, 0};
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += choice_threads)
    if (shared.sum[i] > target && (i == 0 || shared.sum[i - 1] <= target)) shared.place = {i, shared.sum[i]};
  __syncthreads();
  const Counted place = shared.place;
  __syncthreads();
  return place;
}

/// A token by falling probability from the best logits alone; -1 if they do not settle it.
template <class T>
__device__ int draw_of_sorted(const SampleRow<T>& row, float largest, int count) {
  SampleShared& shared = row.shared;
  const bool cut = row.rule.top_k > 0;  // then every token that weighs anything is among the sorted ones
  if (cut) count = min(count, row.rule.top_k);
  Ranked before = 0;
  for (int first = 0; first < count; first += choice_threads) {
    const int i = first + threadIdx.x;
    const Ranked w = i < count ? row.weight(largest, logit_of(shared.sorted[i]), i) : 0;
    const Ranked through = before + row_prefix(shared, w);
    if (i < count) shared.sum[i] = through;
    __syncthreads();
    before = shared.sum[min(first + choice_threads, count) - 1];
  }
  Ranked mass = before;
  if (!cut) {
    Ranked own = 0;
    row.each([&](int, float x) { own += row.weight(largest, x); });
    mass = row_total(shared, own);
  }
  const Counted nucleus = find_sorted(shared, count, kernel::detail::nucleus_mass(row.rule, mass) - 1);
  if (nucleus.place < 0) return -1;
  const Counted drawn = find_sorted(shared, count, row.target(nucleus.sum));
  return id_of(shared.sorted[drawn.place]);
}

/// The same by bisection. `key` is a logit's upper half of Ranked; of tokens with equal keys the lower ids come first.
template <class T>
struct SampleBisection {
  const SampleRow<T>& row;
  float largest;
  /// Of a key: the last bits of fp32's mantissa, which T has not. Two keys that differ do so above them.
  static constexpr int unused_bits = std::is_same_v<T, bf16> ? 16 : std::is_same_v<T, f16> ? 13 : 0;
  unsigned last_key = 0;  ///< of the last token that top_k leaves
  Ranked last_ties = 0;   ///< how many tokens of that key it leaves

  __device__ static unsigned key(float x) {
    return static_cast<unsigned>(ranked(x, 0) >> 32) >> unused_bits << unused_bits;
  }
  __device__ float logit(unsigned key) const {
    return logit_of(Ranked{key >> 31 ? key : key | ((1u << unused_bits) - 1)} << 32);
  }
  /// The largest key for which f(key) > target; f falls.
  template <class F>
  __device__ unsigned bisect(Ranked target, F f) const {
    unsigned found = 0;
    for (int bit = 31; bit >= unused_bits; --bit)
      if (f(found | 1u << bit) > target) found |= 1u << bit;
    return found;
  }
  __device__ Ranked count(unsigned least) const {
    Ranked own = 0;
    row.each([&](int, float x) { own += key(x) >= least; });
    return row_total(row.shared, own);
  }
  __device__ Ranked mass(unsigned least) const {
    Ranked own = 0;
    row.each([&](int, float x) {
      const unsigned k = key(x);
      if (k >= least && k > last_key) own += row.weight(largest, x);
    });
    const Ranked sum = row_total(row.shared, own);
    return least <= last_key ? sum + last_ties * row.weight(largest, logit(last_key)) : sum;
  }
  __device__ void cut_to(int k) {
    last_key = bisect(static_cast<Ranked>(k) - 1, [&](unsigned least) { return count(least); });
    last_ties = k - count(last_key + (1u << unused_bits));
  }
  /// Key and number among equal keys of the first place whose sum is above target, and that sum.
  struct Place {
    unsigned key;
    Ranked tie, sum;
  };
  __device__ Place find(Ranked target) const {
    const unsigned k = bisect(target, [&](unsigned least) { return mass(least); });
    const Ranked before = mass(k + (1u << unused_bits)), each = row.weight(largest, logit(k));
    const Ranked tie = (target - before) / each;
    return {k, tie, before + (tie + 1) * each};
  }
  __device__ int draw() {
    if (row.rule.top_k > 0 && row.rule.top_k < row.vocab) cut_to(row.rule.top_k);
    const Place nucleus = find(kernel::detail::nucleus_mass(row.rule, mass(0)) - 1);
    const Place drawn = find(row.target(nucleus.sum));
    return row.find_by_id(drawn.tie, [&](int, float x) { return Ranked{key(x) == drawn.key}; });
  }
};

template <class T>
__device__ int draw_token(SampleRow<T> row) {
  row.find_best_of_tiles();
  if (row.share > 0) return SampleRows<T>::not_finite;
  const Ranked best = row_best(row.shared, threadIdx.x < row.tiles ? row.shared.tile[threadIdx.x] : 0);
  if (best == not_finite) return SampleRows<T>::not_finite;
  const float largest = logit_of(best);
  if (largest == -INFINITY) return SampleRows<T>::none_left;
  if (row.order == SampleOrder::best_alone) return id_of(best);
  if (row.order == SampleOrder::by_id) {
    Ranked own = 0;
    row.each([&](int, float x) { own += row.weight(largest, x); });
    const Ranked mass = row_total(row.shared, own);
    return row.find_by_id(row.target(mass), [&](int, float x) { return row.weight(largest, x); });
  }
  const int k = row.rule.top_k > 0 ? min(row.rule.top_k, row.vocab) : max(1, row.tiles / 2);
  if (const int count = k <= row.tiles ? sort_best(row, k) : 0)
    if (const int id = draw_of_sorted(row, largest, count); id >= 0) return id;
  return SampleBisection<T>{row, largest}.draw();
}

template <class T>
__global__ void __launch_bounds__(choice_threads) sample_rows_fwd(SampleRows<T> a, int shares) {
  __shared__ SampleShared shared;
  const int s = blockIdx.x / shares, share = blockIdx.x % shares, to = a.rows[s], vocab = a.logits.cols,
            tiles = ceil_div(vocab, tile_ids);
  int id = -1;
  if (to >= 0) {
    const SamplingRule rule = a.rules[s];
    const int source = a.source(s);
    const SampleOrder order = order_of(rule);
    if (source < 0)
      id = draw_token(
          SampleRow<T>{a.logits.row(s), vocab, tiles, false, rule, order, a.chosen[s], share, shares, shared});
    else
      id = draw_token(SampleRow<float>{a.adjusted.row(source), vocab, tiles, true, rule, order, a.chosen[s], share,
                                       shares, shared});
  }
  if (threadIdx.x != 0 || share > 0) return;
  a.told[s] = id;
  if (to >= 0) a.newest[to] = max(id, -1);
}

/// As many as find room at the same time: large clusters leave gaps.
inline int blocks_per_row(const CudaDevice& device, int rows) {
  if (device.compute_capability() != 90) return 1;
  for (const int shares : {8, 4})
    if (rows * shares <= device.multiprocessors() * 3 / 4) return shares;
  return 2 * rows <= device.multiprocessors() ? 2 : 1;
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::sample<lamina::Cuda>::rows(Stream<Cuda> s, const SampleRows<T>& a) {
  if (a.logits.rows == 0) return;
  if (a.logits.cols > cuda::most_tiles * cuda::tile_ids)
    fail("sample: ", a.logits.cols, " logits per row; the kernel takes ", cuda::most_tiles * cuda::tile_ids);
  // an ordinary launch, because it may follow a recorded graph
  const int shares = cuda::blocks_per_row(*s.device, a.logits.rows);
  cuda::launch(s, cuda::sample_rows_fwd<T>,
               {.grid = dim3(a.logits.rows * shares),
                .threads = dim3(cuda::choice_threads),
                .cluster = shares,
                .dependent = false},
               a, shares);
  cuda::check_launch("sample_rows_fwd");
}
