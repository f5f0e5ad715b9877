#pragma once
#include <lamina/kernel/cuda/attention_fwd.cuh>

/// Backward attention on tensor cores, bit-equal from run to run. source: Dao 2023, arXiv:2307.08691, algorithm 2.
///
/// A block owns a tile of keys of one kv head, keeps its dK and dV in registers, and passes over the queries of the
/// group's heads, last tile first: five products a pair of tiles. dQ is added up in fp32 memory; for each tile of
/// queries the blocks add in the order of their keys, each after a flag that the one before has set. Blocks take their
/// tile from a ticket, keys 0 (which see most queries) first, so a block waits only for blocks that already run, and
/// with a causal mask those have gone ahead before it starts.
#ifndef ATTN_KEYS
#define ATTN_KEYS 64
#endif
namespace lamina::kernel::cuda {

/// Tiles of the pass over queries; a warp forms 32 x 32 scores, 32 keys x Width / 2 of dK and dV, 32 queries of dQ. With
/// two stages the next queries are copied while one tile is worked on; one stage fits GPUs with less shared memory.
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

/// delta, lse in the layout of the second pass, and turns = 0. Lanes groups of 16 lanes: one row of one head.
template <class T>
__global__ void attention_bwd_delta(AttentionBwd<T> a, AttentionBwdSums sums) {
  constexpr int lanes = 16;
  const auto heads = a.shape.heads, head_dim = a.shape.head_dim;
  const std::int64_t thread = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x, item = thread / lanes;
  const int row = static_cast<int>(item / heads), head = static_cast<int>(item % heads);
  if (thread < std::int64_t{sums.tiles} * heads + 1) sums.turns[thread] = 0;
  if (row >= a.q.rows) return;
  float dot = 0;
  for (int chunk = static_cast<int>(thread % lanes); chunk * 8 < head_dim; chunk += lanes) {
    float o[8], d[8];
    load_piece(a.o.row(row) + head * head_dim + chunk * 8, o);
    load_piece(a.dout.row(row) + head * head_dim + chunk * 8, d);
    for (int i = 0; i < 8; ++i) dot += o[i] * d[i];
  }
  const unsigned mask = 0xffffu << lane_id() / lanes * lanes;
  for (int offset = lanes / 2; offset > 0; offset /= 2) dot += __shfl_xor_sync(mask, dot, offset);
  if (thread % lanes == 0) {
    const std::ptrdiff_t at = std::ptrdiff_t{head} * a.q.rows + row;
    sums.delta[at] = dot;
    sums.lse[at] = a.lse[std::ptrdiff_t{row} * heads + head] * log2_e;
  }
}

/// Whose turn it is to add to a sum: a counter in memory, read and moved on by one thread of a block.
__device__ inline int turn_now(const int* turn) {
  int now;
  asm volatile("ld.relaxed.gpu.global.s32 %0, [%1];" : "=r"(now) : "l"(turn) : "memory");
  return now;
}
/// Between two barriers: what the block added before the first is seen by whoever sees the store after this, and what
/// others added before a store that this thread has seen is seen by the block after the second.
__device__ inline void fence_turns() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }
__device__ inline void pass_turn(int* turn, int next) {
  asm volatile("st.relaxed.gpu.global.s32 [%0], %1;" ::"l"(turn), "r"(next) : "memory");
}

__device__ inline void add_pair(float* to, float x, float y) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.relaxed.gpu.global.add.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(x), "f"(y) : "memory");
#else
  atomicAdd(to, x);
  atomicAdd(to + 1, y);
#endif
}

/// One block's tile of keys.
template <class T, int Width, int Keys, int Stages>
struct AttentionBwdBlock {
  using Tiles = AttentionBwdTiles<Width, Keys, Stages>;
  using Tile = typename Tiles::Tile;
  using Scores = typename Tiles::Scores;
  static constexpr int TQ = Tiles::queries, TK = Tiles::keys;

  const AttentionBwd<T>& a;
  const AttentionBwdSums& sums;
  int kv_head, row0, length, first_key;                    // of the sequence
  unsigned k_tile, v_tile, p_tile, ds_tile, q_tiles;  // shared memory

  __device__ int warp_q() const { return threadIdx.x / warp_size % 2; }
  __device__ int warp_k() const { return threadIdx.x / warp_size / 2; }
  __device__ unsigned q_tile(int stage) const { return q_tiles + stage * Tiles::stage_bytes; }
  __device__ unsigned do_tile(int stage) const { return q_tile(stage) + Tiles::query_bytes; }
  __device__ unsigned row_sums(int stage) const { return do_tile(stage) + Tiles::query_bytes; }  // lse, then delta

  __device__ void copy_keys() const {
    const HeadRows<const T> k(a.k, row0, kv_head, a.shape.head_dim), v(a.v, row0, kv_head, a.shape.head_dim);
    copy_tile<Width, TK, Tiles::threads>(k_tile, k, first_key, length, a.shape.head_dim, threadIdx.x);
    copy_tile<Width, TK, Tiles::threads>(v_tile, v, first_key, length, a.shape.head_dim, threadIdx.x);
  }
  __device__ void copy_queries(int stage, int head, int tile) const {
    const HeadRows<const T> q(a.q, row0, head, a.shape.head_dim), dout(a.dout, row0, head, a.shape.head_dim);
    copy_tile<Width, TQ, Tiles::threads>(q_tile(stage), q, tile * TQ, length, a.shape.head_dim, threadIdx.x);
    copy_tile<Width, TQ, Tiles::threads>(do_tile(stage), dout, tile * TQ, length, a.shape.head_dim, threadIdx.x);
    if (threadIdx.x < 2 * TQ) {
      const int row = tile * TQ + threadIdx.x % TQ;
      const float* from = (threadIdx.x < TQ ? sums.lse : sums.delta) + std::ptrdiff_t{head} * a.q.rows + row0;
      copy_async_word(row_sums(stage) + threadIdx.x * 4, row < length ? from + row : from, row < length);
    }
    commit_copies();
  }

  /// P and dS of the tile, rounded, to shared memory.
  __device__ void scores(int stage, int tile) const {
    float s[2][4][4], dp[2][4][4];
    clear(s);
    multiply<T, Width / 16>(s, operand_a<Width>(q_tile(stage), warp_q() * 32), operand_b<Width>(k_tile, warp_k() * 32));
    const int query = tile * TQ + warp_q() * 32, key = first_key + warp_k() * 32;
    const int visible = a.shape.causal ? query + 1 : length, step = a.shape.causal ? 1 : 0;
    if (key + 32 > min(visible, length)) mask_scores(s, key, [&](int row) { return min(length, visible + row * step); });
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

  /// This block's part of dQ of a tile, to where it is added up; the last block's sum goes to dq itself.
  __device__ void add_dq(int head, int tile, bool first, bool last) const {
    float dq[2][Tiles::q_n][4];
    clear(dq);
    const int column = warp_k() * Tiles::q_n;  // in units of 8
    multiply<T, TK / 16>(dq, operand_a<TK>(ds_tile, warp_q() * 32), operand_b_transposed<Width>(k_tile, 0, column));
    const int query = tile * TQ + warp_q() * 32;
    const std::ptrdiff_t groups = AttentionBwdSums::start(row0, 8) + query / 8;
    const auto each_pair = [&](auto run) {
#pragma unroll
      for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int in_tile = m * 16 + half * 8;
          if (query + in_tile >= length) continue;
          float* sum = sums.dq + ((groups + in_tile / 8) * a.shape.heads + head) * (Width * 8) + column * 64;
#pragma unroll
          for (int n = 0; n < Tiles::q_n; ++n)
            run(sum + n * 64 + lane_id() * 2, query + in_tile + lane_id() / 4, (column + n) * 8 + lane_id() % 4 * 2,
                dq[m][n][2 * half], dq[m][n][2 * half + 1]);
        }
      }
    };
    if (last) {
      if (!first) {
        each_pair([](float* sum, int, int, float& x, float& y) {
          const float2 before = __ldcg(reinterpret_cast<const float2*>(sum));
          x += before.x, y += before.y;
        });
      }
      const HeadRows<T> out(a.dq, row0, head, a.shape.head_dim);
      each_pair([&](float*, int row, int c, float x, float y) {
        if (row < length && c < a.shape.head_dim)
          *reinterpret_cast<unsigned*>(out.row(row) + c) = pack<T>(x * a.shape.scale, y * a.shape.scale);
      });
    } else if (first) {
      each_pair([](float* sum, int, int, float x, float y) {
        __stcg(reinterpret_cast<float2*>(sum), make_float2(x, y));
      });
    } else {
      each_pair([](float* sum, int, int, float x, float y) { add_pair(sum, x, y); });
    }
  }

  __device__ void store_keys(const Matrix<T>& to, const float (&d)[2][Tiles::kv_n][4], float scale) const {
    const HeadRows<T> out(to, row0, kv_head, a.shape.head_dim);
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = first_key + warp_k() * 32 + m * 16 + half * 8 + lane_id() / 4;
#pragma unroll
        for (int n = 0; n < Tiles::kv_n; ++n) {
          const int c = (warp_q() * Tiles::kv_n + n) * 8;
          if (row < length && c < a.shape.head_dim)
            *reinterpret_cast<unsigned*>(out.row(row) + c + lane_id() % 4 * 2) =
                pack<T>(d[m][n][2 * half] * scale, d[m][n][2 * half + 1] * scale);
        }
      }
    }
  }

  __device__ int* turn_of(int head, int tile) const {
    return sums.turns + std::ptrdiff_t{head} * sums.tiles + AttentionBwdSums::start(row0, TQ) + tile;
  }

  /// Over all queries that see these keys, head after head of the group.
  __device__ void run() const {
    const int mine = first_key / TK, query_tiles = ceil_div(length, TQ), key_tiles = ceil_div(length, TK);
    const int group = a.shape.heads / a.shape.kv_heads, lowest = a.shape.causal ? first_key / TQ : 0;
    const int each = query_tiles - lowest;
    const bool leader = threadIdx.x == 0;
    const auto head_at = [&](int i) { return kv_head * group + i / each; };
    const auto tile_at = [&](int i) { return query_tiles - 1 - i % each; };
    float dk[2][Tiles::kv_n][4], dv[2][Tiles::kv_n][4];
    clear(dk);
    clear(dv);
    copy_keys();
    copy_queries(0, head_at(0), tile_at(0));
    int* passing = nullptr;  // the tile whose sum this block has just added to
    for (int i = 0; i < each * group; ++i) {
      const int stage = i % Tiles::stages, head = head_at(i), tile = tile_at(i);
      wait_copies<0>();
      __syncthreads();  // this tile is here; nobody reads the one before, or its P and dS; all have added to its sum
      if (Tiles::stages == 2 && i + 1 < each * group) copy_queries(1 - stage, head_at(i + 1), tile_at(i + 1));
      const int key_end = a.shape.causal ? ceil_div(min((tile + 1) * TQ, length), TK) : key_tiles;
      int* const turn = key_end > 1 ? turn_of(head, tile) : nullptr;  // of a sum that others add to as well
      int now = leader && turn ? turn_now(turn) : mine;               // arrives during scores()
      scores(stage, tile);
      if (leader) {
        fence_turns();
        if (passing) pass_turn(passing, mine + 1);
        if (now < mine) {
          while (now < mine) now = turn_now(turn);
          fence_turns();
        }
      }
      passing = turn;
      __syncthreads();
      multiply<T, TQ / 16>(dv, operand_a_transposed<TK>(p_tile, 0, warp_k() * 4),
                           operand_b_transposed<Width>(do_tile(stage), 0, warp_q() * Tiles::kv_n));
      add_dq(head, tile, mine == 0, mine + 1 == key_end);
      multiply<T, TQ / 16>(dk, operand_a_transposed<TK>(ds_tile, 0, warp_k() * 4),
                           operand_b_transposed<Width>(q_tile(stage), 0, warp_q() * Tiles::kv_n));
      if (Tiles::stages == 1 && i + 1 < each * group) {
        __syncthreads();
        copy_queries(0, head_at(i + 1), tile_at(i + 1));
      }
    }
    __syncthreads();
    if (leader && passing) {
      fence_turns();
      pass_turn(passing, mine + 1);
    }
    store_keys(a.dk, dk, a.shape.scale);
    store_keys(a.dv, dv, 1);
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
__global__ void __launch_bounds__(AttentionBwdTiles<Width, Keys, Stages>::threads, AttentionBwdTiles<Width, Keys, Stages>::blocks)
    attention_bwd(AttentionBwd<T> a, AttentionBwdSums sums) {
  using Tiles = AttentionBwdTiles<Width, Keys, Stages>;
  extern __shared__ __align__(1024) unsigned char shared[];
  int* ticket = reinterpret_cast<int*>(shared);
  if (threadIdx.x == 0) *ticket = atomicAdd(sums.turns + std::ptrdiff_t{sums.tiles} * a.shape.heads, 1);
  __syncthreads();
  const int slot = *ticket / a.shape.kv_heads, kv_head = *ticket % a.shape.kv_heads;
  __syncthreads();  // the ticket's place is used again
  const auto [b, rest] = costly_first(a.cu, a.sequences, Keys, slot);  // rest: tiles of keys after this one
  if (b < 0) return;
  const int row0 = a.cu[b], length = a.cu[b + 1] - row0;
  const unsigned k = shared_address(shared), v = k + Tiles::key_bytes, p = v + Tiles::key_bytes,
                 ds = p + Tiles::score_bytes, q = ds + Tiles::score_bytes;
  AttentionBwdBlock<T, Width, Keys, Stages>{
      a, sums, kv_head, row0, length, (ceil_div(length, Keys) - 1 - rest) * Keys, k, v, p, ds, q}
      .run();
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
void attention_backward_tiles(Stream<Cuda> s, const AttentionBwd<T>& a, int most_shared = most_shared_bytes()) {
  Arena::Scope scope(*s.scratch);
  const AttentionBwdSums sums = AttentionBwdSums::take(*s.scratch, a.q.rows, a.shape);
  constexpr int threads = 256, lanes = 16;
  const std::int64_t items = std::int64_t{std::max(a.q.rows, 1)} * a.shape.heads;
  attention_bwd_delta<<<static_cast<int>(ceil_div(items * lanes, std::int64_t{threads})), threads, 0, s.handle>>>(a, sums);
  check_launch("attention_bwd_delta");
  constexpr int least_shared = 99 << 10;  // of a block of sm_86, sm_89 and sm_120; others have 163 KiB and more
  with_tile_width(a.shape.head_dim, [&]<int Width>() {
    constexpr int keys = Width == 80 ? 64 : ATTN_KEYS;
    if constexpr (AttentionBwdTiles<Width, keys, 2>::shared_bytes > least_shared) {
      if (AttentionBwdTiles<Width, keys, 2>::shared_bytes > most_shared)
        return launch_attention_bwd<T, Width, keys, 1>(s, a, sums);
    }
    launch_attention_bwd<T, Width, keys, 2>(s, a, sums);
  });
}

}  // namespace lamina::kernel::cuda
