#pragma once
#include <lamina/kernel/cuda/device/cluster.cuh>
#include <lamina/kernel/cuda/device/mma.cuh>

/// A row of logits, read by a block of 1024 threads as tiles of 256 neighbouring ids, a tile by one warp. The best of
/// every tile bounds what the k-th best logit can be: of all logits only those above the bound are sorted, usually a
/// few more than k.
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

struct RowShared {
  Ranked tile[most_tiles];     ///< of every tile: its best logit, a sum of weights or a count
  Ranked sorted[most_sorted];  ///< logits in falling order
  Ranked warp[choice_warps];
  int count;
};

/// op over the block's x, the same in every thread.
template <class Op>
__device__ Ranked row_reduce(RowShared& shared, Ranked x, Op op) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, offset));
  if (threadIdx.x % warp_size == 0) shared.warp[threadIdx.x / warp_size] = x;
  __syncthreads();
  x = shared.warp[threadIdx.x % warp_size];
  for (int offset = warp_size / 2; offset > 0; offset /= 2) x = op(x, __shfl_xor_sync(0xffffffffu, x, offset));
  __syncthreads();
  return x;
}
__device__ inline Ranked row_best(RowShared& shared, Ranked x) {
  return row_reduce(shared, x, [](Ranked a, Ranked b) { return a > b ? a : b; });
}
__device__ inline Ranked row_total(RowShared& shared, Ranked x) {
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
__device__ inline Ranked row_prefix(RowShared& shared, Ranked x) {
  const int warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size;
  x = warp_prefix(x);
  if (lane == warp_size - 1) shared.warp[warp] = x;
  __syncthreads();
  const Ranked before = warp_prefix(shared.warp[lane]);
  x += warp == 0 ? 0 : __shfl_sync(0xffffffffu, before, warp - 1);
  __syncthreads();
  return x;
}

template <class T>
struct LogitRow {
  const T* logits;
  int vocab;
  bool adjusted;  ///< -inf excludes a token
  RowShared& shared;
  int share = 0, shares = 1;  ///< which block of the row's cluster this is
  int tiles = ceil_div(vocab, tile_ids);

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
  /// Then, in the first block: the best of the row, or not_finite, in every thread.
  __device__ Ranked best_of_tiles() const {
    return row_best(shared, threadIdx.x < tiles ? shared.tile[threadIdx.x] : 0);
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
__device__ int sort_best(const LogitRow<T>& row, int k) {
  static_assert(most_tiles <= choice_threads);
  RowShared& shared = row.shared;
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

}  // namespace lamina::kernel::cuda
