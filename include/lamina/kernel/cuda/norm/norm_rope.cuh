#pragma once
#include <algorithm>
#include <type_traits>

#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/cuda/norm/norm_rope.hpp>

/// A warp takes a token. Groups of `Lanes` lanes take a head each: a lane holds Each elements of the head's lower half
/// and the Each that they turn with in its upper half, so nothing crosses lanes but the norm's sum. cos, sin and the
/// gain are read once for all heads of the token.
namespace lamina::kernel::cuda {

inline constexpr int rope_warps = 8;  ///< of a block: tokens

/// Sums over the lanes of a head, the same in each of them.
template <int Lanes>
__device__ float head_sum(float x) {
#pragma unroll
  for (int offset = Lanes / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

/// A lane's pairs of a head of 2 * half elements: Each neighbours, or, if heads are not made of 16-byte pieces,
/// scalar_pairs single ones that are Lanes apart. Lanes that a head does not reach hold copies of its first pairs, so
/// that no branch holds back a load.
template <class T, int Lanes, bool Whole>
struct HeadShare {
  static constexpr int scalar_pairs = 4;
  static constexpr int pairs = Whole ? piece_elements<T> : scalar_pairs;
  static constexpr int groups = warp_size / Lanes;
  int lane = threadIdx.x % Lanes, group = threadIdx.x % warp_size / Lanes, half;

  __device__ explicit HeadShare(int half_dim) : half(half_dim) {}
  __device__ int at(int p) const { return Whole ? lane * pairs + p : lane + p * Lanes; }
  __device__ bool holds(int p) const { return at(Whole ? 0 : p) < half; }

  /// A lane's elements of half a head in their order in memory.
  struct Raw {
    std::conditional_t<Whole, uint4, T> v[Whole ? 1 : scalar_pairs];
  };
  __device__ Raw fetch(const T* from) const {
    Raw raw;
    if constexpr (Whole) {
      raw.v[0] = *reinterpret_cast<const uint4*>(from + (holds(0) ? at(0) : 0));
    } else {
#pragma unroll
      for (int p = 0; p < pairs; ++p) raw.v[p] = from[holds(p) ? at(p) : 0];
    }
    return raw;
  }
  static __device__ void widen(const Raw& raw, float (&to)[pairs]) {
    if constexpr (Whole) {
      widen_piece<T>(raw.v[0], to);
    } else {
#pragma unroll
      for (int p = 0; p < pairs; ++p) to[p] = cuda::widen(raw.v[p]);
    }
  }
  /// to[p] = from[at(p)].
  template <class U>
  __device__ void load(const U* from, float (&to)[pairs]) const {
    if constexpr (Whole) {
      load_elements(from + (holds(0) ? at(0) : 0), to);
    } else {
#pragma unroll
      for (int p = 0; p < pairs; ++p) to[p] = cuda::widen(from[holds(p) ? at(p) : 0]);
    }
  }
  __device__ void store(T* to, bool exists, const float (&from)[pairs]) const {
    if constexpr (Whole) {
      if (exists && holds(0)) store_elements(to + at(0), from);
    } else {
#pragma unroll
      for (int p = 0; p < pairs; ++p)
        if (exists && holds(p)) to[at(p)] = narrow<T>(from[p]);
    }
  }
  /// sum_p a_lo[p] b_lo[p] + a_hi[p] b_hi[p] over the head, the same in each of its lanes.
  __device__ float dot(const float (&a_lo)[pairs], const float (&a_hi)[pairs], const float (&b_lo)[pairs],
                       const float (&b_hi)[pairs]) const {
    float sum = 0;
#pragma unroll
    for (int p = 0; p < pairs; ++p) {
      const float term = a_lo[p] * b_lo[p] + a_hi[p] * b_hi[p];
      sum += holds(p) ? term : 0;
    }
    return head_sum<Lanes>(sum);
  }
};

/// Token n's heads, of which this block does every blocks_per_token-th: to(head) is the place of one.
template <class T, int Lanes, bool Whole, class To>
__device__ void rotate_heads(const NormRopeFwd<T>& a, int n, int block, int blocks_per_token, To to) {
  using Share = HeadShare<T, Lanes, Whole>;
  constexpr int pairs = Share::pairs;
  const int half = a.head_dim / 2, heads = a.x.cols / a.head_dim;
  const Share share(half);
  float cos[pairs], sin[pairs], g_lo[pairs], g_hi[pairs];
  share.load(a.cos.row(n), cos);
  share.load(a.sin.row(n), sin);
  if (a.g) {
    share.load(a.g, g_lo);
    share.load(a.g + half, g_hi);
  }
  for (int first = block * Share::groups; first < heads; first += blocks_per_token * Share::groups) {
    const int head = min(first + share.group, heads - 1);  // all lanes take part in every sum
    const bool exists = first + share.group < heads;
    const T* x = a.x.row(n) + head * a.head_dim;
    float lo[pairs], hi[pairs];
    share.load(x, lo);
    share.load(x + half, hi);
    if (a.g) {
      const float r = 1 / sqrtf(share.dot(lo, hi, lo, hi) / static_cast<float>(a.head_dim) + a.eps);
#pragma unroll
      for (int p = 0; p < pairs; ++p) lo[p] = g_lo[p] * (lo[p] * r), hi[p] = g_hi[p] * (hi[p] * r);
    }
#pragma unroll
    for (int p = 0; p < pairs; ++p) {
      const float h = lo[p];
      lo[p] = h * cos[p] - hi[p] * sin[p];
      hi[p] = hi[p] * cos[p] + h * sin[p];
    }
    T* y = to(head);
    share.store(y, exists, lo);
    share.store(y + half, exists, hi);
  }
}

/// A row of blocks (y) per argument, q and k of the same tokens; blocks along z share a token's heads.
template <class T, int Lanes, bool Whole>
__global__ void __launch_bounds__(rope_warps* warp_size) norm_rope_fwd(NormRopeFwd<T> q, NormRopeFwd<T> k) {
  start_in_turn();
  const NormRopeFwd<T>& a = blockIdx.y == 0 ? q : k;
  const int n = blockIdx.x * rope_warps + threadIdx.x / warp_size;
  if (n >= a.x.rows) return;
  rotate_heads<T, Lanes, Whole>(a, n, blockIdx.z, gridDim.z, [&](int head) { return a.y.row(n) + head * a.head_dim; });
}

/// Adds up what the lanes of a block hold of dg, in order of groups, then of warps; parts[block][d] is the sum.
template <class T, int Lanes, bool Whole>
__device__ void write_gain_part(HeadShare<T, Lanes, Whole> share, float* lo, float* hi, float* parts) {
  __shared__ float sums[rope_warps][2 * warp_size * piece_elements<float>];
  const int warp = threadIdx.x / warp_size, head_dim = 2 * share.half;
  for (int p = 0; p < share.pairs; ++p) {
    for (int offset = Lanes; offset < warp_size; offset *= 2) {
      lo[p] += __shfl_xor_sync(0xffffffffu, lo[p], offset);
      hi[p] += __shfl_xor_sync(0xffffffffu, hi[p], offset);
    }
    if (share.group == 0 && share.holds(p)) {
      sums[warp][share.at(p)] = lo[p];
      sums[warp][share.at(p) + share.half] = hi[p];
    }
  }
  __syncthreads();
  for (int d = threadIdx.x; d < head_dim; d += rope_warps * warp_size) {
    float sum = 0;
    for (int w = 0; w < rope_warps; ++w) sum += sums[w][d];
    parts[blockIdx.x * head_dim + d] = sum;
  }
}

/// What a head's backward does besides turning.
enum class HeadNorm { none, frozen, learning };

/// With h the gradient turned back and xhat = x r:  dx = r (g h - xhat mean(g h xhat)),   dg += h xhat. While a warp
/// works on some heads, the next ones are on their way.
template <class T, int Lanes, bool Whole, HeadNorm Norm>
__global__ void __launch_bounds__(rope_warps* warp_size) norm_rope_bwd(NormRopeBwd<T> a, float* parts) {
  using Share = HeadShare<T, Lanes, Whole>;
  using Raw = typename Share::Raw;
  constexpr int pairs = Share::pairs;
  constexpr bool normed = Norm != HeadNorm::none, learns = Norm == HeadNorm::learning;
  struct Fetched {
    Raw dy_lo, dy_hi, x_lo, x_hi;
  };
  const int half = a.head_dim / 2, heads = a.x.cols / a.head_dim, warps = gridDim.x * rope_warps;
  const Share share(half);
  const auto fetch = [&](int n, int first) {
    const int at = min(first + share.group, heads - 1) * a.head_dim;
    const T *x = a.x.row(n) + at, *dy = a.dy.row(n) + at;
    Fetched f;
    f.dy_lo = share.fetch(dy), f.dy_hi = share.fetch(dy + half);
    if constexpr (normed) f.x_lo = share.fetch(x), f.x_hi = share.fetch(x + half);
    return f;
  };
  int n = blockIdx.x * rope_warps + threadIdx.x / warp_size;
  float dg_lo[pairs] = {}, dg_hi[pairs] = {};
  Raw g_lo, g_hi;
  Fetched next;
  if (n < a.x.rows) {
    next = fetch(n, 0);
    if constexpr (normed) g_lo = share.fetch(a.g), g_hi = share.fetch(a.g + half);
  }
  for (; n < a.x.rows; n += warps) {
    float cos[pairs], sin[pairs];
    share.load(a.cos.row(n), cos);
    share.load(a.sin.row(n), sin);
    for (int first = 0; first < heads; first += Share::groups) {
      const Fetched now = next;
      const bool last = first + Share::groups >= heads;
      next = fetch(last ? min(n + warps, a.x.rows - 1) : n, last ? 0 : first + Share::groups);
      const bool exists = first + share.group < heads;
      float lo[pairs], hi[pairs];
      Share::widen(now.dy_lo, lo);
      Share::widen(now.dy_hi, hi);
#pragma unroll
      for (int p = 0; p < pairs; ++p) {
        const float d = lo[p];
        lo[p] = d * cos[p] + hi[p] * sin[p];
        hi[p] = hi[p] * cos[p] - d * sin[p];
      }
      if constexpr (normed) {
        float x_lo[pairs], x_hi[pairs], gain_lo[pairs], gain_hi[pairs];
        Share::widen(now.x_lo, x_lo);
        Share::widen(now.x_hi, x_hi);
        Share::widen(g_lo, gain_lo);
        Share::widen(g_hi, gain_hi);
        const float r = 1 / sqrtf(share.dot(x_lo, x_hi, x_lo, x_hi) / static_cast<float>(a.head_dim) + a.eps);
#pragma unroll
        for (int p = 0; p < pairs; ++p) {
          x_lo[p] *= r, x_hi[p] *= r;
          if (learns && exists) dg_lo[p] += lo[p] * x_lo[p], dg_hi[p] += hi[p] * x_hi[p];
          lo[p] *= gain_lo[p], hi[p] *= gain_hi[p];
        }
        const float mean = share.dot(lo, hi, x_lo, x_hi) / static_cast<float>(a.head_dim);
#pragma unroll
        for (int p = 0; p < pairs; ++p) lo[p] = r * (lo[p] - x_lo[p] * mean), hi[p] = r * (hi[p] - x_hi[p] * mean);
      }
      T* dx = a.dx.row(n) + (first + share.group) * a.head_dim;
      share.store(dx, exists, lo);
      share.store(dx + half, exists, hi);
    }
  }
  if constexpr (learns) write_gain_part(share, dg_lo, dg_hi, parts);
}

/// dg[d] += parts[0][d] + parts[1][d] + ...: a block an element, in a fixed order.
static __global__ void norm_rope_bwd_gain(const float* parts, int runs, int head_dim, float* dg) {
  constexpr int threads = 128;
  float sum = 0;
  for (int run = threadIdx.x; run < runs; run += threads) sum += parts[run * head_dim + blockIdx.x];
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) dg[blockIdx.x] += sum;
}

/// Calls f<Lanes, Whole>() with the fewest lanes that hold a head.
template <class T, class F>
void with_head_share(int head_dim, bool whole, F f) {
  constexpr int fewest = warp_size / piece_elements<T>;  // 64 elements in pieces
  const int pieces = head_dim / 2 / piece_elements<T>;
  if (!whole) return f.template operator()<warp_size, false>();
  if (pieces <= fewest) return f.template operator()<fewest, true>();
  if (pieces <= 2 * fewest) return f.template operator()<2 * fewest, true>();
  return f.template operator()<4 * fewest, true>();
}
inline void check_head_dim(int head_dim) {
  if (head_dim % 2 != 0 || head_dim > 256)
    fail("norm_rope: heads of ", head_dim, " elements; the kernel wants an even number up to 256");
}

/// Whether both halves of every head consist of 16-byte pieces.
template <class T, class Args>
bool halves_are_whole(const Args& a) {
  constexpr int n = piece_elements<T>;
  return a.head_dim % (2 * n) == 0 && is_aligned(a.g) && in_pieces<n>(a.x) && is_aligned(a.cos.data) &&
         is_aligned(a.sin.data) && a.cos.stride % 4 == 0 && a.sin.stride % 4 == 0;
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

namespace cuda {
/// One launch for the first `count` of q and k.
template <class T>
void launch_norm_rope(Stream<Cuda> s, const NormRopeFwd<T>& q, const NormRopeFwd<T>& k, int count) {
  check_head_dim(q.head_dim);
  if (q.x.rows == 0) return;
  const auto is_whole = [](const auto& a) { return halves_are_whole<T>(a) && in_pieces<piece_elements<T>>(a.y); };
  const int blocks = ceil_div(q.x.rows, rope_warps), threads = rope_warps * warp_size;
  with_head_share<T>(q.head_dim, is_whole(q) && is_whole(k), [&]<int Lanes, bool Whole>() {
    const int heads = ceil_div(q.x.cols / q.head_dim, HeadShare<T, Lanes, Whole>::groups);
    const int shares = std::clamp(s.device->multiprocessors() / (blocks * count), 1, heads);
    launch_dependent(s, norm_rope_fwd<T, Lanes, Whole>, dim3(blocks, count, shares), threads, q, k);
  });
  check_launch("norm_rope_fwd");
}
}  // namespace cuda

template <class T>
void norm_rope<Cuda>::forward(Stream<Cuda> s, const NormRopeFwd<T>& a) {
  cuda::launch_norm_rope(s, a, a, 1);
}
template <class T>
void norm_rope<Cuda>::forward(Stream<Cuda> s, const NormRopeFwd<T>& q, const NormRopeFwd<T>& k) {
  cuda::launch_norm_rope(s, q, k, 2);
}

template <class T>
void norm_rope<Cuda>::backward(Stream<Cuda> s, const NormRopeBwd<T>& a) {
  cuda::check_head_dim(a.head_dim);
  if (a.x.rows == 0) return;
  constexpr int n = cuda::piece_elements<T>;
  const bool whole = cuda::halves_are_whole<T>(a) && cuda::in_pieces<n>(a.dy) && cuda::in_pieces<n>(a.dx);
  using cuda::HeadNorm;
  const int threads = cuda::rope_warps * cuda::warp_size, all = cuda::ceil_div(a.x.rows, cuda::rope_warps);
  // With norms a multiprocessor holds two blocks. They go from token to token, so only their first load is waited for.
  const int blocks = a.g ? std::min({all, max_gain_runs, 2 * s.device->multiprocessors()}) : all;
  if (!a.dg || !a.g) {
    cuda::with_head_share<T>(a.head_dim, whole, [&]<int Lanes, bool Whole>() {
      if (a.g)
        cuda::norm_rope_bwd<T, Lanes, Whole, HeadNorm::frozen><<<blocks, threads, 0, s.handle>>>(a, nullptr);
      else
        cuda::norm_rope_bwd<T, Lanes, Whole, HeadNorm::none><<<blocks, threads, 0, s.handle>>>(a, nullptr);
    });
    return cuda::check_launch("norm_rope_bwd");
  }
  Arena::Scope scope(*s.scratch);
  float* parts = s.scratch->take<float>(static_cast<std::size_t>(blocks) * a.head_dim);
  cuda::with_head_share<T>(a.head_dim, whole, [&]<int Lanes, bool Whole>() {
    cuda::norm_rope_bwd<T, Lanes, Whole, HeadNorm::learning><<<blocks, threads, 0, s.handle>>>(a, parts);
  });
  cuda::check_launch("norm_rope_bwd");
  cuda::norm_rope_bwd_gain<<<a.head_dim, 128, 0, s.handle>>>(parts, blocks, a.head_dim, a.dg);
  cuda::check_launch("norm_rope_bwd_gain");
}

}  // namespace lamina::kernel
