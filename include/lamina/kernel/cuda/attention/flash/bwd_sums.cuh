#pragma once
#include <lamina/kernel/cuda/attention/flash/tiles.cuh>
#include <lamina/kernel/cuda/attention/scratch.hpp>

/// What the kernels of backward share: row sums, dQ's sums in memory, and the order in which blocks add to them.
///
/// A block owns a tile of keys of one kv head, keeps its dK and dV in registers, and passes over the queries of the
/// group's heads, last tile first: five products a pair of tiles. dQ is added up in fp32 memory; for each tile of
/// queries the blocks add in the order of their keys, each after a flag that the one before has set, so that two runs
/// agree bit for bit. Blocks take their tile from a ticket, keys 0 (which see most queries) first: a block waits only
/// for blocks that already run, and with a causal mask those have gone ahead before it starts.
/// source: Dao 2023, arXiv:2307.08691, algorithm 2
namespace lamina::kernel::cuda {

/// The row sums, and turns = 0; 16 lanes per row of a head.
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

template <class T>
AttentionBwdSums attention_bwd_sums(Stream<Cuda> s, const AttentionBwd<T>& a) {
  const AttentionBwdSums sums = AttentionBwdSums::take(*s.scratch, a.q.rows, a.shape);
  constexpr std::int64_t threads = 256, lanes = 16;
  const std::int64_t items = std::int64_t{a.q.rows} * a.shape.heads;
  attention_bwd_delta<<<static_cast<int>(ceil_div(items * lanes, threads)), threads, 0, s.handle>>>(a, sums);
  check_launch("attention_bwd_delta");
  return sums;
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

/// One block's tile of keys: its place, and the place of its results.
template <class T, int Width, int Keys>
struct AttentionBwdKeys {
  static constexpr int TQ = AttentionBwdSums::queries, TK = Keys;
  const AttentionBwd<T>& a;
  const AttentionBwdSums& sums;
  int kv_head, row0, length, first_key;  // of the sequence; length 0 if the block has no tile

  /// Takes a tile; ticket is a place in shared memory. Every thread of the block calls it.
  __device__ AttentionBwdKeys(const AttentionBwd<T>& args, const AttentionBwdSums& s, int* ticket)
      : a(args), sums(s), kv_head(0), row0(0), length(0), first_key(0) {
    if (threadIdx.x == 0) *ticket = atomicAdd(sums.turns + std::ptrdiff_t{sums.tiles} * a.shape.heads, 1);
    __syncthreads();
    const int slot = *ticket / a.shape.kv_heads;
    kv_head = *ticket % a.shape.kv_heads;
    __syncthreads();                                                   // the place is used again
    const auto [b, rest] = costly_first(a.cu, a.sequences, TK, slot);  // rest: tiles of keys after this one
    if (b < 0) return;
    row0 = a.cu[b], length = a.cu[b + 1] - row0;
    first_key = (ceil_div(length, TK) - 1 - rest) * TK;
  }

  // The pass over queries: pair i is a tile of queries of a head of the group.
  __device__ int group() const { return a.shape.heads / a.shape.kv_heads; }
  __device__ int query_tiles() const { return ceil_div(length, TQ) - (a.shape.causal ? first_key / TQ : 0); }
  __device__ int pairs() const { return query_tiles() * group(); }
  __device__ int head_of(int i) const { return kv_head * group() + i / query_tiles(); }
  __device__ int tile_of(int i) const { return ceil_div(length, TQ) - 1 - i % query_tiles(); }
  /// Of the blocks that add to a tile of queries, this one's number and how many there are.
  __device__ int mine() const { return first_key / TK; }
  __device__ int adders(int tile) const { return ceil_div(a.shape.causal ? min((tile + 1) * TQ, length) : length, TK); }
  /// Null if this block alone adds.
  __device__ int* turn_of(int head, int tile) const {
    if (adders(tile) == 1) return nullptr;
    return sums.turns + std::ptrdiff_t{head} * sums.tiles + AttentionBwdSums::start(row0, TQ) + tile;
  }

  /// lse and delta of a tile of queries, side by side in shared memory; zeros after the last.
  __device__ void copy_row_sums(unsigned to, int head, int tile) const {
    if (threadIdx.x >= 2 * TQ) return;
    const int row = tile * TQ + threadIdx.x % TQ;
    const float* from = (threadIdx.x < TQ ? sums.lse : sums.delta) + std::ptrdiff_t{head} * a.q.rows + row0;
    copy_async_word(to + threadIdx.x * 4, from + row, row < length);
  }

  /// This block's part of dQ, rows from `query` and columns from 8 `column`, to where it is added up; the last block's
  /// sum goes to dq itself.
  template <int M, int N>
  __device__ void add_dq(float (&dq)[M][N][4], int head, int tile, int query, int column) const {
    const bool first = mine() == 0, last = mine() + 1 == adders(tile);
    const std::ptrdiff_t groups = AttentionBwdSums::start(row0, 8) + query / 8;
    const auto each_pair = [&](auto run) {
#pragma unroll
      for (int m = 0; m < M; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = m * 16 + half * 8;
          if (query + row >= length) continue;
          float* sum = sums.dq + ((groups + row / 8) * a.shape.heads + head) * (Width * 8) + column * 64;
#pragma unroll
          for (int n = 0; n < N; ++n)
            run(sum + n * 64 + lane_id() * 2, query + row + lane_id() / 4, (column + n) * 8 + lane_id() % 4 * 2,
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
      const RowsOfHead<T> out(a.dq, row0, head, a.shape.head_dim);
      each_pair([&](float*, int row, int c, float x, float y) {
        if (row < length && c < a.shape.head_dim)
          *reinterpret_cast<unsigned*>(out.row(row) + c) = pack<T>(x * a.shape.scale, y * a.shape.scale);
      });
    } else if (first) {
      each_pair(
          [](float* sum, int, int, float x, float y) { __stcg(reinterpret_cast<float2*>(sum), make_float2(x, y)); });
    } else {
      each_pair([](float* sum, int, int, float x, float y) { add_pair(sum, x, y); });
    }
  }

  /// dk or dv, rows from `key` and columns from 8 `column`.
  template <int M, int N>
  __device__ void store_keys(const Matrix<T>& to, const float (&d)[M][N][4], int key, int column, float factor) const {
    const RowsOfHead<T> out(to, row0, kv_head, a.shape.head_dim);
#pragma unroll
    for (int m = 0; m < M; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = key + m * 16 + half * 8 + lane_id() / 4;
#pragma unroll
        for (int n = 0; n < N; ++n) {
          const int c = (column + n) * 8;
          if (row < length && c < a.shape.head_dim)
            *reinterpret_cast<unsigned*>(out.row(row) + c + lane_id() % 4 * 2) =
                pack<T>(d[m][n][2 * half] * factor, d[m][n][2 * half + 1] * factor);
        }
      }
    }
  }
};

/// One thread's view of the order: it asks for the turn early, so that the answer is there when it must wait.
class AttentionBwdTurn {
 public:
  __device__ void ask(int* turn, int mine) {
    turn_ = turn;
    mine_ = mine;
    now_ = turn ? turn_now(turn) : mine;
  }
  /// Between two barriers: passes on what the block added before the first, waits until it may add after the second.
  __device__ void wait() {
    fence_turns();
    if (passing_) pass_turn(passing_, mine_ + 1);
    if (now_ < mine_) {
      while (now_ < mine_) now_ = turn_now(turn_);
      fence_turns();
    }
    passing_ = turn_;
  }
  /// After a last barrier.
  __device__ void pass_last() const {
    if (!passing_) return;
    fence_turns();
    pass_turn(passing_, mine_ + 1);
  }

 private:
  int *turn_ = nullptr, *passing_ = nullptr;
  int mine_ = 0, now_ = 0;
};

}  // namespace lamina::kernel::cuda
