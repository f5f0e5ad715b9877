#pragma once
#include <lamina/kernel/cuda/attention/flash/tiles.cuh>

/// Attention computed in fp32 without tensor cores: any head_dim up to 128, any stride. Tiles of 32 queries by 32 keys;
/// eight threads share a row. Backward forms scores twice, for dQ and for dK and dV. It is for checking models in fp32,
/// and backward, of any element type, for the few queries whose keys are other rows (AttentionBwd::cu_k).
namespace lamina::kernel::cuda {

struct AttentionF32Tiles {
  static constexpr int rows = 32, row_threads = 8, threads = rows * row_threads;
  static constexpr int columns = 128 / row_threads;  ///< a thread's share of a row of head_dim
  static constexpr int row_scores = rows / row_threads, score_stride = rows + 1;
  static constexpr int score_floats = rows * score_stride;
  static constexpr int tile_floats(int head_dim) { return rows * (head_dim + 1); }
  static constexpr int bytes(int tiles, int scores, int head_dim) {
    return (tiles * tile_floats(head_dim) + scores * score_floats) * static_cast<int>(sizeof(float));
  }
  static __device__ int row() { return threadIdx.x / row_threads; }
  static __device__ int lane() { return threadIdx.x % row_threads; }
};

namespace detail {
using F32 = AttentionF32Tiles;

/// Rows first .. of a head; zeros from row `end` on.
template <class T>
__device__ void copy_f32(float* tile, const RowsOfHead<const T>& from, int first, int end, int head_dim) {
  for (int i = threadIdx.x; i < F32::rows * head_dim; i += F32::threads) {
    const int row = i / head_dim, column = i % head_dim;
    tile[row * (head_dim + 1) + column] = first + row < end ? widen(from.row(first + row)[column]) : 0.0f;
  }
}
/// This thread's scores: its row of a by rows lane(), lane() + 8, ... of b.
__device__ inline void scores_f32(float (&s)[F32::row_scores], const float* a, const float* b, int head_dim) {
  for (float& x : s) x = 0;
  for (int d = 0; d < head_dim; ++d) {
    const float x = a[F32::row() * (head_dim + 1) + d];
#pragma unroll
    for (int i = 0; i < F32::row_scores; ++i) s[i] += x * b[(F32::lane() + i * F32::row_threads) * (head_dim + 1) + d];
  }
}
__device__ inline void store_f32(float* scores, const float (&s)[F32::row_scores]) {
#pragma unroll
  for (int i = 0; i < F32::row_scores; ++i)
    scores[F32::row() * F32::score_stride + F32::lane() + i * F32::row_threads] = s[i];
}
/// sum[i] += sum_j w(j) tile[j, column i of this thread].
template <class Weight>
__device__ void add_rows_f32(float (&sum)[F32::columns], const float* tile, int head_dim, Weight weight) {
  for (int j = 0; j < F32::rows; ++j) {
    const float w = weight(j);
#pragma unroll
    for (int i = 0; i < F32::columns; ++i) {
      const int column = F32::lane() + i * F32::row_threads;
      if (column < head_dim) sum[i] += w * tile[j * (head_dim + 1) + column];
    }
  }
}
template <class T>
__device__ void write_f32(T* to, const float (&x)[F32::columns], int head_dim, float factor) {
#pragma unroll
  for (int i = 0; i < F32::columns; ++i) {
    const int column = F32::lane() + i * F32::row_threads;
    if (column < head_dim) to[column] = narrow<T>(x[i] * factor);
  }
}
}  // namespace detail

/// grid: tile_bound(q.rows, sequences, 32) * heads
static __global__ void __launch_bounds__(AttentionF32Tiles::threads) attention_fwd_f32(AttentionFwd<float> a) {
  using namespace detail;
  extern __shared__ float f32_shared[];
  const auto [heads, kv_heads, head_dim, scale, causal, window] = a.shape;
  const int head = blockIdx.x % heads, kv_head = head / (heads / kv_heads);
  const auto [b, tile] = costly_first(a.cu_q, a.sequences, F32::rows, blockIdx.x / heads);
  if (b < 0) return;
  const int q0 = a.cu_q[b], queries = a.cu_q[b + 1] - q0, k0 = a.cu_k[b], keys = a.cu_k[b + 1] - k0;
  const int first = tile * F32::rows, query = first + F32::row(), before = keys - queries + 1;
  const int visible = causal ? min(keys, query + before) : keys;
  const int hidden = window > 0 ? query + before - window : 0;
  const int first_key = window > 0 ? max(0, first + before - window) / F32::rows * F32::rows : 0;
  const int most_visible = causal ? min(keys, min(first + F32::rows, queries) - 1 + before) : keys;
  float *q = f32_shared, *k = q + F32::tile_floats(head_dim), *v = k + F32::tile_floats(head_dim),
        *p = v + F32::tile_floats(head_dim);
  copy_f32(q, RowsOfHead<const float>(a.q, q0, head, head_dim), first, queries, head_dim);
  float o[F32::columns] = {}, top = -INFINITY, sum = 0;
  for (int key = first_key; key < most_visible; key += F32::rows) {
    __syncthreads();
    copy_f32(k, RowsOfHead<const float>(a.k, k0, kv_head, head_dim), key, keys, head_dim);
    copy_f32(v, RowsOfHead<const float>(a.v, k0, kv_head, head_dim), key, keys, head_dim);
    __syncthreads();
    float s[F32::row_scores], higher = top;
    scores_f32(s, q, k, head_dim);
#pragma unroll
    for (int i = 0; i < F32::row_scores; ++i) {
      const int column = key + F32::lane() + i * F32::row_threads;
      s[i] = column < visible && column >= hidden ? s[i] * scale : -INFINITY;
      higher = fmaxf(higher, s[i]);
    }
    for (int offset = F32::row_threads / 2; offset > 0; offset /= 2)
      higher = fmaxf(higher, __shfl_xor_sync(0xffffffffu, higher, offset));
    const float shrink = top == -INFINITY ? 0.0f : expf(top - higher);
    sum *= shrink;
    for (float& x : o) x *= shrink;
    for (float& x : s) sum += x = higher == -INFINITY ? 0.0f : expf(x - higher);
    top = higher;
    store_f32(p, s);
    __syncwarp();  // the eight threads of a row are of one warp
    add_rows_f32(o, v, head_dim, [&](int j) { return p[F32::row() * F32::score_stride + j]; });
  }
  for (int offset = F32::row_threads / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, offset);
  if (query >= queries) return;
  write_f32(a.o.row(q0 + query) + head * head_dim, o, head_dim, sum > 0 ? 1 / sum : 0.0f);
  if (a.lse && F32::lane() == 0) a.lse[std::ptrdiff_t{q0 + query} * heads + head] = top + logf(sum);
}

/// rowsum(dO * O), (Nq, H); a warp per row of a head.
template <class T>
__global__ void attention_bwd_delta_f32(AttentionBwd<T> a, float* delta) {
  const std::int64_t item = (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / warp_size;
  const int row = static_cast<int>(item / a.shape.heads), head = static_cast<int>(item % a.shape.heads);
  if (row >= a.q.rows) return;
  float dot = 0;
  for (int d = lane_id(); d < a.shape.head_dim; d += warp_size)
    dot += widen(a.o(row, head * a.shape.head_dim + d)) * widen(a.dout(row, head * a.shape.head_dim + d));
  dot = warp_sum(dot);
  if (lane_id() == 0) delta[item] = dot;
}

/// The tiles of one pair of queries and keys, and what backward makes of them.
template <class T>
struct AttentionBwdF32 {
  const AttentionBwd<T>& a;
  const float* delta;
  int q0, queries, k0, keys;
  int before;  ///< keys that a causal mask shows to query 0, besides the first
  float *q, *dout, *k, *v, *p, *ds;

  __device__ AttentionBwdF32(const AttentionBwd<T>& args, const float* row_sums, int b, float* shared)
      : a(args),
        delta(row_sums),
        q0(args.cu[b]),
        queries(args.cu[b + 1] - args.cu[b]),
        k0(cu_of_keys(args)[b]),
        keys(cu_of_keys(args)[b + 1] - cu_of_keys(args)[b]),
        before(keys - queries) {
    const int tile = AttentionF32Tiles::tile_floats(a.shape.head_dim);
    q = shared, dout = q + tile, k = dout + tile, v = k + tile;
    p = v + tile, ds = p + AttentionF32Tiles::score_floats;
  }
  static __device__ const int* cu_of_keys(const AttentionBwd<T>& a) { return a.cu_k ? a.cu_k : a.cu; }
  __device__ void copy_queries(int first, int head) const {
    copy(q, a.q, q0, head, first, queries), copy(dout, a.dout, q0, head, first, queries);
  }
  __device__ void copy_keys(int first, int kv_head) const {
    copy(k, a.k, k0, kv_head, first, keys), copy(v, a.v, k0, kv_head, first, keys);
  }
  /// p and ds = P (dO V^T - D), zero if a query does not see a key.
  __device__ void scores(int first_query, int first_key, int head) const {
    using F32 = AttentionF32Tiles;
    float s[F32::row_scores], dp[F32::row_scores];
    detail::scores_f32(s, q, k, a.shape.head_dim);
    detail::scores_f32(dp, dout, v, a.shape.head_dim);
    const int query = first_query + F32::row();
    const std::ptrdiff_t at = std::ptrdiff_t{q0 + min(query, queries - 1)} * a.shape.heads + head;
    const int visible = query >= queries ? 0 : a.shape.causal ? min(keys, query + 1 + before) : keys;
    const int hidden = a.shape.window > 0 ? query + 1 + before - a.shape.window : 0;
#pragma unroll
    for (int i = 0; i < F32::row_scores; ++i) {
      const int key = first_key + F32::lane() + i * F32::row_threads;
      const bool sees = key < visible && key >= hidden;
      s[i] = sees ? expf(s[i] * a.shape.scale - a.lse[at]) : 0.0f;
      dp[i] = s[i] * (dp[i] - delta[at]);
    }
    detail::store_f32(p, s);
    detail::store_f32(ds, dp);
  }

 private:
  __device__ void copy(float* to, const Matrix<const T>& from, int row, int head, int first, int end) const {
    detail::copy_f32(to, RowsOfHead<const T>(from, row, head, a.shape.head_dim), first, end, a.shape.head_dim);
  }
};

/// grid: tile_bound(q.rows, sequences, 32) * heads
template <class T>
__global__ void __launch_bounds__(AttentionF32Tiles::threads)
    attention_bwd_query_f32(AttentionBwd<T> a, const float* delta) {
  using namespace detail;
  extern __shared__ float f32_shared[];
  const auto [heads, kv_heads, head_dim, scale, causal, window] = a.shape;
  const int head = blockIdx.x % heads;
  const auto [b, tile] = costly_first(a.cu, a.sequences, F32::rows, blockIdx.x / heads);
  if (b < 0) return;
  const AttentionBwdF32<T> pair(a, delta, b, f32_shared);
  const int first = tile * F32::rows, query = first + F32::row();
  const int end = causal ? min(pair.keys, first + F32::rows + pair.before) : pair.keys;
  pair.copy_queries(first, head);
  float dq[F32::columns] = {};
  for (int key = 0; key < end; key += F32::rows) {
    __syncthreads();
    pair.copy_keys(key, head / (heads / kv_heads));
    __syncthreads();
    pair.scores(first, key, head);
    __syncwarp();
    add_rows_f32(dq, pair.k, head_dim, [&](int j) { return pair.ds[F32::row() * F32::score_stride + j]; });
  }
  if (query < pair.queries) write_f32(a.dq.row(pair.q0 + query) + head * head_dim, dq, head_dim, scale);
}

/// grid: tile_bound(k.rows, sequences, 32) * kv_heads
template <class T>
__global__ void __launch_bounds__(AttentionF32Tiles::threads)
    attention_bwd_key_f32(AttentionBwd<T> a, const float* delta) {
  using namespace detail;
  extern __shared__ float f32_shared[];
  const auto [heads, kv_heads, head_dim, scale, causal, window] = a.shape;
  const int kv_head = blockIdx.x % kv_heads, group = heads / kv_heads;
  const auto [b, rest] = costly_first(AttentionBwdF32<T>::cu_of_keys(a), a.sequences, F32::rows, blockIdx.x / kv_heads);
  if (b < 0) return;
  const AttentionBwdF32<T> pair(a, delta, b, f32_shared);
  const int first = (ceil_div(pair.keys, F32::rows) - 1 - rest) * F32::rows, key = first + F32::row();
  pair.copy_keys(first, kv_head);
  const int first_query = causal ? max(0, first - pair.before) / F32::rows * F32::rows : 0;
  float dk[F32::columns] = {}, dv[F32::columns] = {};
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int query = first_query; query < pair.queries; query += F32::rows) {
      __syncthreads();
      pair.copy_queries(query, head);
      __syncthreads();
      pair.scores(query, first, head);
      __syncthreads();
      add_rows_f32(dv, pair.dout, head_dim, [&](int i) { return pair.p[i * F32::score_stride + F32::row()]; });
      add_rows_f32(dk, pair.q, head_dim, [&](int i) { return pair.ds[i * F32::score_stride + F32::row()]; });
    }
  }
  if (key >= pair.keys) return;
  write_f32(a.dk.row(pair.k0 + key) + kv_head * head_dim, dk, head_dim, scale);
  write_f32(a.dv.row(pair.k0 + key) + kv_head * head_dim, dv, head_dim, 1);
}

inline void attention_forward_f32(Stream<Cuda> s, const AttentionFwd<float>& a) {
  const int bytes = AttentionF32Tiles::bytes(3, 1, a.shape.head_dim);
  allow_shared(attention_fwd_f32, bytes);
  attention_fwd_f32<<<tile_bound(a.q.rows, a.sequences, AttentionF32Tiles::rows) * a.shape.heads,
                      AttentionF32Tiles::threads, bytes, s.handle>>>(a);
  check_launch("attention_fwd_f32");
}

template <class T>
void attention_backward_f32(Stream<Cuda> s, const AttentionBwd<T>& a) {
  Arena::Scope scope(*s.scratch);
  const std::int64_t items = std::int64_t{a.q.rows} * a.shape.heads;
  float* delta = s.scratch->take<float>(static_cast<std::size_t>(items));
  constexpr int threads = AttentionF32Tiles::threads;
  const int bytes = AttentionF32Tiles::bytes(4, 2, a.shape.head_dim);
  const auto tiles = [&](int rows) { return tile_bound(rows, a.sequences, AttentionF32Tiles::rows); };
  attention_bwd_delta_f32<<<static_cast<int>(ceil_div(items * warp_size, std::int64_t{threads})), threads, 0,
                            s.handle>>>(a, delta);
  check_launch("attention_bwd_delta_f32");
  allow_shared(attention_bwd_query_f32<T>, bytes);
  attention_bwd_query_f32<<<tiles(a.q.rows) * a.shape.heads, threads, bytes, s.handle>>>(a, delta);
  check_launch("attention_bwd_query_f32");
  allow_shared(attention_bwd_key_f32<T>, bytes);
  attention_bwd_key_f32<<<tiles(a.k.rows) * a.shape.kv_heads, threads, bytes, s.handle>>>(a, delta);
  check_launch("attention_bwd_key_f32");
}

}  // namespace lamina::kernel::cuda
