#pragma once
#include <lamina/kernel/cuda/attention/flash/bwd_sums.cuh>
#include <lamina/kernel/cuda/attention/flash/fwd.cuh>

/// Backward attention by mma.sync; see bwd_sums.cuh for its order.
namespace lamina::kernel::cuda {

/// Tiles of the pass over queries; a warp forms 32 x 32 scores, 32 keys x Width / 2 of dK and dV, 32 queries of dQ.
/// With two stages the next queries are copied while one tile is worked on; one stage fits GPUs with less shared
/// memory.
template <int Width, int Keys, int Stages>
struct AttentionBwdTiles {
  static constexpr int queries = 64, keys = Keys, key_warps = keys / 32, warps = 2 * key_warps,
                       threads = warps * warp_size, blocks = keys == 64 ? 2 : 1, stages = Stages;
  using Tile = SharedTile<Width>;
  using Scores = SharedTile<keys>;
  static constexpr int kv_n = Width / 2 / 8, q_n = Width / key_warps / 8;  ///< mma columns a warp has of dK, dV; of dQ
  static_assert(kv_n * 16 == Width && q_n * key_warps * 8 == Width);
  static constexpr int key_bytes = Tile::bytes(keys), query_bytes = Tile::bytes(queries),
                       score_bytes = Scores::bytes(queries), row_bytes = queries * 4;
  static constexpr int stage_bytes = 2 * query_bytes + 2 * row_bytes;
  static constexpr int shared_bytes = 2 * key_bytes + 2 * score_bytes + stages * stage_bytes;
};

/// One block's tile of keys.
template <class T, int Width, int Keys, int Stages>
struct AttentionBwdBlock : AttentionBwdKeys<T, Width, Keys> {
  using Tiles = AttentionBwdTiles<Width, Keys, Stages>;
  using Tile = typename Tiles::Tile;
  using Scores = typename Tiles::Scores;
  using Base = AttentionBwdKeys<T, Width, Keys>;
  using Base::a, Base::row0, Base::length, Base::first_key, Base::kv_head, Base::TQ, Base::TK;
  unsigned k_tile, v_tile, p_tile, ds_tile, q_tiles;  // shared memory

  __device__ AttentionBwdBlock(const AttentionBwd<T>& args, const AttentionBwdSums& s, unsigned char* shared)
      : Base(args, s, reinterpret_cast<int*>(shared)),
        k_tile(shared_address(shared)),
        v_tile(k_tile + Tiles::key_bytes),
        p_tile(v_tile + Tiles::key_bytes),
        ds_tile(p_tile + Tiles::score_bytes),
        q_tiles(ds_tile + Tiles::score_bytes) {}

  __device__ int warp_q() const { return threadIdx.x / warp_size % 2; }
  __device__ int warp_k() const { return threadIdx.x / warp_size / 2; }
  __device__ unsigned q_tile(int stage) const { return q_tiles + stage * Tiles::stage_bytes; }
  __device__ unsigned do_tile(int stage) const { return q_tile(stage) + Tiles::query_bytes; }
  __device__ unsigned row_sums(int stage) const { return do_tile(stage) + Tiles::query_bytes; }  // lse, then delta

  __device__ void copy_keys() const {
    const RowsOfHead<const T> k(a.k, row0, kv_head, a.shape.head_dim), v(a.v, row0, kv_head, a.shape.head_dim);
    copy_tile<Width, TK, Tiles::threads>(k_tile, k, first_key, length, a.shape.head_dim, threadIdx.x);
    copy_tile<Width, TK, Tiles::threads>(v_tile, v, first_key, length, a.shape.head_dim, threadIdx.x);
  }
  __device__ void copy_queries(int stage, int head, int tile) const {
    const RowsOfHead<const T> q(a.q, row0, head, a.shape.head_dim), dout(a.dout, row0, head, a.shape.head_dim);
    copy_tile<Width, TQ, Tiles::threads>(q_tile(stage), q, tile * TQ, length, a.shape.head_dim, threadIdx.x);
    copy_tile<Width, TQ, Tiles::threads>(do_tile(stage), dout, tile * TQ, length, a.shape.head_dim, threadIdx.x);
    this->copy_row_sums(row_sums(stage), head, tile);
    commit_copies();
  }

  /// P and dS of the tile, rounded, to shared memory.
  __device__ void scores(int stage, int tile) const {
    float s[2][4][4], dp[2][4][4];
    clear(s);
    multiply<T, Width / 16>(s, operand_a<Width>(q_tile(stage), warp_q() * 32), operand_b<Width>(k_tile, warp_k() * 32));
    const int query = tile * TQ + warp_q() * 32, key = first_key + warp_k() * 32;
    const int visible = a.shape.causal ? query + 1 : length, step = a.shape.causal ? 1 : 0;
    if (key + 32 > min(visible, length))
      mask_scores(s, key, [&](int row) { return min(length, visible + row * step); });
    if (const int window = a.shape.window; window > 0 && key < visible + 31 - window)
      hide_scores(s, key, [&](int row) { return visible + row - window; });
    const float scale = a.shape.scale * log2_e;
    const unsigned row_sum = row_sums(stage) + (warp_q() * 32 + lane_id() / 4) * 4;
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float lse = load_shared(row_sum + (m * 16 + half * 8) * 4);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          s[m][n][2 * half] = fast_exp2(s[m][n][2 * half] * scale - lse);
          s[m][n][2 * half + 1] = fast_exp2(s[m][n][2 * half + 1] * scale - lse);
        }
      }
    }
    store_scores(p_tile, s);
    clear(dp);
    multiply<T, Width / 16>(dp, operand_a<Width>(do_tile(stage), warp_q() * 32),
                            operand_b<Width>(v_tile, warp_k() * 32));
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float delta = load_shared(row_sum + Tiles::row_bytes + (m * 16 + half * 8) * 4);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          dp[m][n][2 * half] = s[m][n][2 * half] * (dp[m][n][2 * half] - delta);
          dp[m][n][2 * half + 1] = s[m][n][2 * half + 1] * (dp[m][n][2 * half + 1] - delta);
        }
      }
    }
    store_scores(ds_tile, dp);
  }

  /// Over all queries that see these keys.
  __device__ void run() const {
    const int pairs = this->pairs();
    const auto copy_pair = [&](int stage, int i) { copy_queries(stage, this->head_of(i), this->tile_of(i)); };
    float dk[2][Tiles::kv_n][4], dv[2][Tiles::kv_n][4];
    clear(dk);
    clear(dv);
    copy_keys();
    copy_pair(0, 0);
    AttentionBwdTurn turn;  // of thread 0
    for (int i = 0; i < pairs; ++i) {
      const int stage = i % Tiles::stages, head = this->head_of(i), tile = this->tile_of(i);
      wait_copies<0>();
      __syncthreads();  // this tile is here; nobody reads the one before, or its P and dS; all have added to its sum
      if (Tiles::stages == 2 && i + 1 < pairs) copy_pair(1 - stage, i + 1);
      if (threadIdx.x == 0) turn.ask(this->turn_of(head, tile), this->mine());
      scores(stage, tile);
      if (threadIdx.x == 0) turn.wait();
      __syncthreads();
      multiply<T, TQ / 16>(dv, operand_a_transposed<TK>(p_tile, 0, warp_k() * 4),
                           operand_b_transposed<Width>(do_tile(stage), 0, warp_q() * Tiles::kv_n));
      float dq[2][Tiles::q_n][4];
      clear(dq);
      const int column = warp_k() * Tiles::q_n;
      multiply<T, TK / 16>(dq, operand_a<TK>(ds_tile, warp_q() * 32), operand_b_transposed<Width>(k_tile, 0, column));
      this->add_dq(dq, head, tile, tile * TQ + warp_q() * 32, column);
      multiply<T, TQ / 16>(dk, operand_a_transposed<TK>(ds_tile, 0, warp_k() * 4),
                           operand_b_transposed<Width>(q_tile(stage), 0, warp_q() * Tiles::kv_n));
      if (Tiles::stages == 1 && i + 1 < pairs) {
        __syncthreads();
        copy_pair(0, i + 1);
      }
    }
    __syncthreads();
    if (threadIdx.x == 0) turn.pass_last();
    this->store_keys(a.dk, dk, first_key + warp_k() * 32, warp_q() * Tiles::kv_n, a.shape.scale);
    this->store_keys(a.dv, dv, first_key + warp_k() * 32, warp_q() * Tiles::kv_n, 1);
  }

 private:
  static __device__ float load_shared(unsigned address) {
    float x;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(x) : "r"(address) : "memory");
    return x;
  }
  __device__ void store_scores(unsigned tile, const float (&s)[2][4][4]) const {
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = warp_q() * 32 + m * 16 + half * 8 + lane_id() / 4;
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          const unsigned at = Scores::at(tile, row, warp_k() * 4 + n) + lane_id() % 4 * 4;
          asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(pack<T>(s[m][n][2 * half], s[m][n][2 * half + 1]))
                       : "memory");
        }
      }
    }
  }
};

/// grid: tile_bound(q.rows, sequences, Keys) * kv_heads
template <class T, int Width, int Keys, int Stages>
__global__ void __launch_bounds__(AttentionBwdTiles<Width, Keys, Stages>::threads,
                                  AttentionBwdTiles<Width, Keys, Stages>::blocks)
    attention_bwd(AttentionBwd<T> a, AttentionBwdSums sums) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const AttentionBwdBlock<T, Width, Keys, Stages> block(a, sums, shared);
  if (block.length > 0) block.run();
}

template <class T, int Width, int Keys, int Stages>
void launch_attention_bwd(Stream<Cuda> s, const AttentionBwd<T>& a, const AttentionBwdSums& sums) {
  using Tiles = AttentionBwdTiles<Width, Keys, Stages>;
  allow_shared(attention_bwd<T, Width, Keys, Stages>, Tiles::shared_bytes);
  const int blocks = tile_bound(a.q.rows, a.sequences, Keys) * a.shape.kv_heads;
  attention_bwd<T, Width, Keys, Stages><<<blocks, Tiles::threads, Tiles::shared_bytes, s.handle>>>(a, sums);
  check_launch("attention_bwd");
}

/// What a block of the current GPU may have.
inline int most_shared_bytes() {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "shared memory of a block");
  return bytes;
}

template <class T>
void attention_backward_tiles(Stream<Cuda> s, const AttentionBwd<T>& a, const AttentionBwdSums& sums,
                              int most_shared = most_shared_bytes()) {
  with_tile_width(a.shape.head_dim, [&]<int Width>() {
    constexpr int least_shared = 99 << 10;        // of a block of sm_86, sm_89 and sm_120; others have 163 KiB and more
    constexpr int keys = Width == 80 ? 64 : 128;  // a warp's columns of dQ come in eights
    if constexpr (AttentionBwdTiles<Width, keys, 2>::shared_bytes > least_shared) {
      if (AttentionBwdTiles<Width, keys, 2>::shared_bytes > most_shared)
        return launch_attention_bwd<T, Width, 64, 1>(s, a, sums);
    }
    launch_attention_bwd<T, Width, keys, 2>(s, a, sums);
  });
}

}  // namespace lamina::kernel::cuda
