#pragma once
#include <lamina/kernel/cuda/attention/flash/tiles.cuh>

/// Forward attention on tensor cores. source: Dao 2023, arXiv:2307.08691, algorithm 1.
namespace lamina::kernel::cuda {

/// A block owns 128 queries of one head, a warp 32 of them: each fragment of keys then feeds two rows of mma. Keys and
/// values come in tiles of 64, the next while one is worked on.
template <int Width>
struct AttentionFwdTiles {
  static constexpr int queries = 128, keys = 64, warps = 4, threads = warps * warp_size;
  using Tile = SharedTile<Width>;
  static constexpr int query_bytes = Tile::bytes(queries), key_bytes = Tile::bytes(keys);
  static constexpr int shared_bytes = query_bytes + 4 * key_bytes;
};

/// The softmax of a warp's 16 M rows as their scores arrive: thread (g, t) keeps rows g and g+8 of each 16.
///
/// o and sum are relative to 2^reference. The reference follows a row's maximum only when that has grown by more than
/// 2^slack, so that most tiles need no rescaling; probabilities stay below 2^slack, which 16-bit floats and sums hold.
template <int M>
struct RunningSoftmax {
  static constexpr float slack = 8;
  float reference[M][2], sum[M][2];  // scores times log2 e; this thread's share of the columns
  float shrink[M][2];                // what o is to be multiplied by if update() says so
  __device__ RunningSoftmax() {
#pragma unroll
    for (int m = 0; m < M; ++m) reference[m][0] = reference[m][1] = -INFINITY, sum[m][0] = sum[m][1] = 0;
  }

  /// Scores become probabilities; scale includes log2 e. True, for the whole warp, if rescale(o) must follow.
  template <int N>
  __device__ bool update(float (&s)[M][N][4], float scale) {
    float top[M][2];
    bool grew = false;
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float t = -INFINITY;
#pragma unroll
        for (int n = 0; n < N; ++n) t = fmaxf(t, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
        t = fmaxf(t, __shfl_xor_sync(0xffffffffu, t, 1));
        t = fmaxf(t, __shfl_xor_sync(0xffffffffu, t, 2));
        top[m][half] = t * scale;
        grew |= top[m][half] > reference[m][half] + slack;  // also the first finite score: -inf + 8 is -inf
      }
    }
    grew = __any_sync(0xffffffffu, grew);
    if (grew) raise(top);
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float zero = reference[m][half] == -INFINITY ? 0.0f : reference[m][half];
#pragma unroll
        for (int n = 0; n < N; ++n) {
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            s[m][n][e] = fast_exp2(s[m][n][e] * scale - zero);
            sum[m][half] += s[m][n][e];
          }
        }
      }
    }
    return grew;
  }

  template <int N>
  __device__ void rescale(float (&o)[M][N][4]) const {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) o[m][n][e] *= shrink[m][e / 2];
      }
    }
  }

  /// Sums over the row: afterwards the same in its four threads.
  __device__ void finish() {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        sum[m][half] += __shfl_xor_sync(0xffffffffu, sum[m][half], 1);
        sum[m][half] += __shfl_xor_sync(0xffffffffu, sum[m][half], 2);
      }
    }
  }
  /// The logarithm of the row's sum of exp(s).
  __device__ float lse(int m, int half) const { return reference[m][half] * ln_2 + logf(sum[m][half]); }
  __device__ float inverse(int m, int half) const { return sum[m][half] > 0 ? 1 / sum[m][half] : 0.0f; }

 private:
  __device__ void raise(const float (&top)[M][2]) {
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float higher = fmaxf(reference[m][half], top[m][half]);
        shrink[m][half] = higher == -INFINITY ? 1.0f : fast_exp2(reference[m][half] - higher);
        reference[m][half] = higher;
        sum[m][half] *= shrink[m][half];
      }
    }
  }
};

/// s = -infinity from a row's end of visible keys on; s starts at key `first`.
template <int M, int N, class EndOfRow>
__device__ void mask_scores(float (&s)[M][N][4], int first, EndOfRow end) {
  const int row = lane_id() / 4, column = first + lane_id() % 4 * 2;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row_end = end(m * 16 + half * 8 + row);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        if (column + n * 8 >= row_end) s[m][n][2 * half] = -INFINITY;
        if (column + n * 8 + 1 >= row_end) s[m][n][2 * half + 1] = -INFINITY;
      }
    }
  }
}

/// s = -infinity before a row's first key in its window; s starts at key `first`.
template <int M, int N, class BeginOfRow>
__device__ void hide_scores(float (&s)[M][N][4], int first, BeginOfRow begin) {
  const int row = lane_id() / 4, column = first + lane_id() % 4 * 2;
#pragma unroll
  for (int m = 0; m < M; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row_begin = begin(m * 16 + half * 8 + row);
#pragma unroll
      for (int n = 0; n < N; ++n) {
        if (column + n * 8 < row_begin) s[m][n][2 * half] = -INFINITY;
        if (column + n * 8 + 1 < row_begin) s[m][n][2 * half + 1] = -INFINITY;
      }
    }
  }
}

/// grid: tile_bound(q.rows, sequences, 128) * heads
template <class T, int Width, class Fwd>
__global__ void __launch_bounds__(AttentionFwdTiles<Width>::threads, 2) attention_fwd(Fwd a) {
  using Tiles = AttentionFwdTiles<Width>;
  using Tile = typename Tiles::Tile;
  extern __shared__ __align__(1024) unsigned char shared[];
  const auto [heads, kv_heads, head_dim, scale, causal, window] = a.shape;
  const int head = blockIdx.x % heads, kv_head = head / (heads / kv_heads);
  const auto [b, tile] = costly_first(a.cu_q, a.sequences, Tiles::queries, blockIdx.x / heads);
  if (b < 0) return;
  const int q0 = a.cu_q[b], queries = a.cu_q[b + 1] - q0, keys = key_count(a, b);
  const int first = tile * Tiles::queries, end = min(first + Tiles::queries, queries), warp = threadIdx.x / warp_size;
  const int visible = causal ? first + 1 + keys - queries : keys;  // keys that query `first` sees

  const unsigned q_tile = shared_address(shared), kv_tiles = q_tile + Tiles::query_bytes;
  const auto k_tile = [&](int t) { return kv_tiles + t % 2 * (2 * Tiles::key_bytes); };
  const auto v_tile = [&](int t) { return k_tile(t) + Tiles::key_bytes; };
  const auto k = head_rows(a, a.k, b, kv_head), v = head_rows(a, a.v, b, kv_head);
  const auto copy_keys = [&](int t) {
    copy_tile<Width, Tiles::keys, Tiles::threads>(k_tile(t), k, t * Tiles::keys, keys, head_dim, threadIdx.x);
    copy_tile<Width, Tiles::keys, Tiles::threads>(v_tile(t), v, t * Tiles::keys, keys, head_dim, threadIdx.x);
    commit_copies();
  };
  const int last_visible = causal ? min(keys, visible + end - 1 - first) : keys;
  const int tiles = last_visible > 0 ? ceil_div(last_visible, Tiles::keys) : 0;
  const int first_tile = window > 0 ? max(0, visible - window) / Tiles::keys : 0;
  copy_tile<Width, Tiles::queries, Tiles::threads>(q_tile, RowsOfHead<const T>(a.q, q0, head, head_dim), first, queries,
                                                   head_dim, threadIdx.x);
  commit_copies();  // waited for even if there are no keys: outputs take the place of queries
  if (tiles > 0) copy_keys(tiles - 1);

  float o[2][Width / 8][4];
  clear(o);
  RunningSoftmax<2> softmax;
  const int warp_visible = visible + (causal ? warp * 32 : 0), step = causal ? 1 : 0;
  for (int t = tiles - 1; t >= first_tile; --t) {
    wait_copies<0>();
    __syncthreads();  // tile t is here, and nobody reads tile t + 1 any more
    if (t > first_tile) copy_keys(t - 1);
    if (t * Tiles::keys >= warp_visible + 31 * step) continue;  // above the diagonal for the whole warp
    float s[2][Tiles::keys / 8][4];
    clear(s);
    multiply<T, Width / 16>(s, operand_a<Width>(q_tile, warp * 32), operand_b<Width>(k_tile(t), 0));
    if ((t + 1) * Tiles::keys > min(keys, warp_visible))
      mask_scores(s, t * Tiles::keys, [&](int row) { return min(keys, warp_visible + row * step); });
    if (window > 0 && t * Tiles::keys < warp_visible + 31 - window)
      hide_scores(s, t * Tiles::keys, [&](int row) { return warp_visible + row - window; });
    if (softmax.update(s, scale * log2_e)) softmax.rescale(o);
    multiply<T, Tiles::keys / 16>(o, RegisterOperand<T, 2, Tiles::keys / 8>{s},
                                  operand_b_transposed<Width>(v_tile(t), 0, 0));
  }

  softmax.finish();
  wait_copies<0>();
  __syncthreads();
  const int lane_row = lane_id() / 4;
#pragma unroll
  for (int m = 0; m < 2; ++m) {  // a warp's outputs go where its queries were, to be written as whole rows
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = warp * 32 + m * 16 + half * 8 + lane_row;
      const float inverse = softmax.inverse(m, half);
#pragma unroll
      for (int n = 0; n < Width / 8; ++n) {
        const unsigned pair = pack<T>(o[m][n][2 * half] * inverse, o[m][n][2 * half + 1] * inverse);
        *reinterpret_cast<unsigned*>(shared + (Tile::at(0, row, n) + lane_id() % 4 * 4)) = pair;
      }
      if constexpr (std::is_same_v<Fwd, AttentionFwd<T>>)
        if (a.lse && lane_id() % 4 == 0 && first + row < end)
          a.lse[std::ptrdiff_t{q0 + first + row} * heads + head] = softmax.lse(m, half);
    }
  }
  __syncwarp();
  const RowsOfHead<T> out(a.o, q0, head, head_dim);
  for (int i = lane_id(); i < 32 * (Width / 8); i += warp_size) {
    const int row = warp * 32 + i / (Width / 8), chunk = i % (Width / 8);
    if (first + row < end && chunk * 8 < head_dim)
      *reinterpret_cast<uint4*>(out.row(first + row) + chunk * 8) =
          *reinterpret_cast<const uint4*>(shared + Tile::at(0, row, chunk));
  }
}

/// Fwd: AttentionFwd or PagedAttentionFwd.
template <class T, template <class> class Fwd>
void attention_forward_tiles(Stream<Cuda> s, const Fwd<T>& a) {
  with_tile_width(a.shape.head_dim, [&]<int Width>() {
    using Tiles = AttentionFwdTiles<Width>;
    allow_shared(attention_fwd<T, Width, Fwd<T>>, Tiles::shared_bytes);
    const int blocks = tile_bound(a.q.rows, a.sequences, Tiles::queries) * a.shape.heads;
    attention_fwd<T, Width, Fwd<T>><<<blocks, Tiles::threads, Tiles::shared_bytes, s.handle>>>(a);
    check_launch("attention_fwd");
  });
}

}  // namespace lamina::kernel::cuda
