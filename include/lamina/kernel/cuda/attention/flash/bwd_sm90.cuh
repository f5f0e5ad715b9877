#pragma once
#include <lamina/kernel/cuda/attention/flash/bwd_sums.cuh>
#include <lamina/kernel/cuda/attention/flash/fwd_sm90.cuh>

/// Backward attention by wgmma; see bwd_sums.cuh for its order. source: Shah et al. 2024, arXiv:2407.08608
namespace lamina::kernel::cuda {

/// A warpgroup owns 64 of the block's keys and forms its scores transposed, S^T = K Q^T: P^T and dS^T are then, without
/// leaving registers, the left operands of dV and dK. dS^T passes through shared memory for dQ, of which each warpgroup
/// forms half of the columns.
template <int Width>
struct AttentionBwdSm90Tiles {
  static constexpr int queries = AttentionBwdSums::queries, keys = 128, threads = 2 * warpgroup_size;
  using Queries = PanelTile<queries, Width>;
  using Keys = PanelTile<keys, Width>;
  using Scores = PanelTile<keys, queries>;  ///< transposed
  static constexpr int row_bytes = queries * static_cast<int>(sizeof(float)), stages = 2;
  static constexpr int row_sum_offset = 2 * Keys::bytes + Scores::bytes + stages * 2 * Queries::bytes;
  static constexpr int shared_bytes = row_sum_offset + stages * 2 * row_bytes;
};

template <class T, int Width>
struct AttentionBwdSm90Block : AttentionBwdKeys<T, Width, AttentionBwdSm90Tiles<Width>::keys> {
  using Tiles = AttentionBwdSm90Tiles<Width>;
  using Base = AttentionBwdKeys<T, Width, Tiles::keys>;
  using Base::a, Base::row0, Base::length, Base::first_key, Base::kv_head, Base::TQ, Base::TK;
  static constexpr int group_keys = 64, score_n = TQ / 8, score_steps = TQ / 16;
  unsigned char* shared;
  typename Tiles::Keys k_tile, v_tile;
  typename Tiles::Scores ds_tile;

  __device__ AttentionBwdSm90Block(const AttentionBwd<T>& args, const AttentionBwdSums& s, unsigned char* memory)
      : Base(args, s, reinterpret_cast<int*>(memory)),
        shared(memory),
        k_tile{shared_address(memory)},
        v_tile{k_tile.base + Tiles::Keys::bytes},
        ds_tile{v_tile.base + Tiles::Keys::bytes} {}

  __device__ int warpgroup() const { return threadIdx.x / warpgroup_size; }
  __device__ int warp() const { return threadIdx.x / warp_size % 4; }
  __device__ auto q_tile(int stage) const {
    return typename Tiles::Queries{ds_tile.base + Tiles::Scores::bytes + stage * 2 * Tiles::Queries::bytes};
  }
  __device__ auto do_tile(int stage) const {
    return typename Tiles::Queries{q_tile(stage).base + Tiles::Queries::bytes};
  }
  __device__ const float* lse(int stage) const {
    return reinterpret_cast<const float*>(shared + Tiles::row_sum_offset) + stage * 2 * TQ;
  }
  __device__ const float* delta(int stage) const { return lse(stage) + TQ; }

  __device__ void copy_keys() const {
    const int head_dim = a.shape.head_dim;
    copy_panels<Width, TK, Tiles::threads>(k_tile, RowsOfHead<const T>(a.k, row0, kv_head, head_dim), first_key, length,
                                           head_dim);
    copy_panels<Width, TK, Tiles::threads>(v_tile, RowsOfHead<const T>(a.v, row0, kv_head, head_dim), first_key, length,
                                           head_dim);
  }
  __device__ void copy_pair(int stage, int i) const {
    const int head = this->head_of(i), tile = this->tile_of(i), head_dim = a.shape.head_dim;
    copy_panels<Width, TQ, Tiles::threads>(q_tile(stage), RowsOfHead<const T>(a.q, row0, head, head_dim), tile * TQ,
                                           length, head_dim);
    copy_panels<Width, TQ, Tiles::threads>(do_tile(stage), RowsOfHead<const T>(a.dout, row0, head, head_dim), tile * TQ,
                                           length, head_dim);
    this->copy_row_sums(shared_address(lse(stage)), head, tile);
    commit_copies();
  }

  /// s = -infinity if a query does not see a key.
  __device__ void mask(float (&s)[1][score_n][4], int tile) const {
    const int key = first_key + warpgroup() * group_keys + warp() * 16, query = tile * TQ;
    const int window = a.shape.window;
    const bool hides = window > 0 && key + window < query + TQ;  // some of these keys from some of these queries
    if (key + 15 < length && !(a.shape.causal && key + 15 > query) && !hides) return;
#pragma unroll
    for (int n = 0; n < score_n; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int my_key = key + e / 2 * 8 + lane_id() / 4, my_query = query + n * 8 + lane_id() % 4 * 2 + e % 2;
        if (my_key >= length || (a.shape.causal && my_key > my_query) || (hides && my_key + window <= my_query))
          s[0][n][e] = -INFINITY;
      }
    }
  }
  /// Over this thread's scores: run(score's place, the row sums' place).
  template <class F>
  static __device__ void each_score(const float* row_sums, F run) {
#pragma unroll
    for (int n = 0; n < score_n; ++n) {
      const float2 sums = *reinterpret_cast<const float2*>(row_sums + n * 8 + lane_id() % 4 * 2);
#pragma unroll
      for (int e = 0; e < 4; ++e) run(n, e, e % 2 ? sums.y : sums.x);
    }
  }
  static __device__ void pack_scores(unsigned (&p)[score_steps][4], const float (&s)[1][score_n][4]) {
#pragma unroll
    for (int step = 0; step < score_steps; ++step) RegisterOperand<T, 1, score_n>{s}.load(p[step], 0, step);
  }
  /// dS^T of this warp, packed, to shared memory.
  __device__ void store_scores(const unsigned (&p)[score_steps][4]) const {
#pragma unroll
    for (int n = 0; n < score_n; ++n) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int key = warpgroup() * group_keys + warp() * 16 + half * 8 + lane_id() / 4;
        *reinterpret_cast<unsigned*>(shared + (ds_tile.at(key, n) - k_tile.base) + lane_id() % 4 * 4) =
            p[n / 2][n % 2 * 2 + half];
      }
    }
  }

  __device__ void run() const {
    constexpr int half_n = Width / 2 / 8;
    const int pairs = this->pairs();
    const float scale = a.shape.scale * log2_e;
    float dk[1][Width / 8][4], dv[1][Width / 8][4];
    clear(dk);
    clear(dv);
    copy_keys();
    copy_pair(0, 0);
    AttentionBwdTurn turn;  // of thread 0
    for (int i = 0; i < pairs; ++i) {
      const int stage = i % 2, head = this->head_of(i), tile = this->tile_of(i);
      const auto q = q_tile(stage), dout = do_tile(stage);
      wait_copies<0>();
      publish_to_wgmma();
      __syncthreads();  // this tile is here; nobody reads the one before, or its dS; all have added to its sum
      float s[1][score_n][4], dp[1][score_n][4];
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < Width / 16; ++step)
        wgmma<T, false, false>(s, k_tile.along_rows(warpgroup() * group_keys, step), q.along_rows(0, step), step > 0);
      wgmma_commit();
#pragma unroll
      for (int step = 0; step < Width / 16; ++step)
        wgmma<T, false, false>(dp, v_tile.along_rows(warpgroup() * group_keys, step), dout.along_rows(0, step),
                               step > 0);
      wgmma_commit();
      if (i + 1 < pairs) copy_pair(1 - stage, i + 1);
      if (threadIdx.x == 0) turn.ask(this->turn_of(head, tile), this->mine());

      unsigned p[score_steps][4], ds[score_steps][4];
      wgmma_wait<1>();
      mask(s, tile);
      each_score(lse(stage), [&](int n, int e, float sum) { s[0][n][e] = fast_exp2(s[0][n][e] * scale - sum); });
      pack_scores(p, s);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < score_steps; ++step) wgmma<T, true>(dv, p[step], dout.down_columns(0, step));
      wgmma_commit();
      wgmma_wait<1>();
      each_score(delta(stage), [&](int n, int e, float sum) { dp[0][n][e] = s[0][n][e] * (dp[0][n][e] - sum); });
      pack_scores(ds, dp);
      store_scores(ds);
      publish_to_wgmma();
      if (threadIdx.x == 0) turn.wait();
      __syncthreads();

      float dq[1][half_n][4];
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < TK / 16; ++step)
        wgmma<T, true, true>(dq, ds_tile.down_columns(0, step), k_tile.down_columns(warpgroup() * (Width / 2), step),
                             step > 0);
      wgmma_commit();
#pragma unroll
      for (int step = 0; step < score_steps; ++step) wgmma<T, true>(dk, ds[step], q.down_columns(0, step));
      wgmma_commit();
      wgmma_wait<1>();
      this->add_dq(dq, head, tile, tile * TQ + warp() * 16, warpgroup() * half_n);
      wgmma_wait<0>();
    }
    __syncthreads();
    if (threadIdx.x == 0) turn.pass_last();
    const int key = first_key + warpgroup() * group_keys + warp() * 16;
    this->store_keys(a.dk, dk, key, 0, a.shape.scale);
    this->store_keys(a.dv, dv, key, 0, 1);
  }
};

/// grid: tile_bound(q.rows, sequences, 128) * kv_heads
template <class T, int Width>
__global__ void __launch_bounds__(AttentionBwdSm90Tiles<Width>::threads, 1)
    attention_bwd_sm90(AttentionBwd<T> a, AttentionBwdSums sums) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  extern __shared__ __align__(1024) unsigned char shared[];
  const AttentionBwdSm90Block<T, Width> block(a, sums, shared);
  if (block.length > 0) block.run();
#endif
}

template <class T, int Width>
void launch_attention_bwd_sm90(Stream<Cuda> s, const AttentionBwd<T>& a, const AttentionBwdSums& sums) {
  using Tiles = AttentionBwdSm90Tiles<Width>;
  allow_shared(attention_bwd_sm90<T, Width>, Tiles::shared_bytes);
  const int blocks = tile_bound(a.q.rows, a.sequences, Tiles::keys) * a.shape.kv_heads;
  attention_bwd_sm90<T, Width><<<blocks, Tiles::threads, Tiles::shared_bytes, s.handle>>>(a, sums);
  check_launch("attention_bwd_sm90");
}

}  // namespace lamina::kernel::cuda
