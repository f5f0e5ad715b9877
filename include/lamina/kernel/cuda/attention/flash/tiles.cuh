#pragma once
#include <lamina/kernel/attention/attention.hpp>
#include <lamina/kernel/attention/paged_attention.hpp>
#include <lamina/kernel/cuda/device/mma.cuh>

/// Which rows a block of an attention kernel works on, found on the device: the host never reads cu_seqlens.
namespace lamina::kernel::cuda {

/// A tile of one sequence; sequence is -1 if there is none.
struct SequenceTile {
  int sequence, tile;
};

/// At most this many tiles of `tile` rows cover `rows` rows of `sequences` sequences: what a grid is sized by.
constexpr int tile_bound(int rows, int sequences, int tile) { return rows / tile + sequences; }

namespace detail {

__device__ inline int tiles_of(const int* cu, int b, int tile) { return ceil_div(cu[b + 1] - cu[b], tile); }

/// The rank-th tile when those of highest index come first, over all sequences, which the lanes of a warp share.
__device__ inline SequenceTile highest_first(const int* cu, int sequences, int tile, int rank) {
  const auto tiles_from = [&](int index) {  // tiles of that index or a higher one
    int n = 0;
    for (int b = lane_id(); b < sequences; b += warp_size) n += max(0, tiles_of(cu, b, tile) - index);
    return __reduce_add_sync(0xffffffffu, n);
  };
  if (rank >= tiles_from(0)) return {-1, 0};
  int most = 0;
  for (int b = lane_id(); b < sequences; b += warp_size) most = max(most, tiles_of(cu, b, tile));
  int low = 0, high = __reduce_max_sync(0xffffffffu, most);  // tiles_from(low) > rank >= tiles_from(high)
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (tiles_from(middle) > rank ? low : high) = middle;
  }
  int before = rank - tiles_from(low + 1);  // sequences that have a tile `low` and come before ours
  for (int first = 0;; first += warp_size) {
    const int b = first + lane_id();
    const unsigned has = __ballot_sync(0xffffffffu, b < sequences && tiles_of(cu, b, tile) > low);
    if (before < __popc(has)) return {first + static_cast<int>(__fns(has, 0, before + 1)), low};
    before -= __popc(has);
  }
}

/// Sequence after sequence. Sequence b owns the slots from cu[b] * scale / tile + b on, never fewer than it has tiles,
/// so that its number is found by bisection without any sum over sequences.
__device__ inline SequenceTile in_order(const int* cu, int sequences, int tile, int slot, int scale) {
  const auto start = [&](int b) { return cu[b] * scale / tile + b; };
  int low = 0, high = sequences;  // start(low) <= slot < start(high)
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (start(middle) <= slot ? low : high) = middle;
  }
  const int index = ceil_div((cu[low + 1] - cu[low]) * scale, tile) - 1 - (slot - start(low));
  return {index < 0 || slot < start(low) ? -1 : low, index};
}

}  // namespace detail

/// The tile that block `slot` of tile_bound(...) blocks takes. With a causal mask a tile costs as much as its index, so
/// high ones are started first, over all sequences if these are few, else within each. All lanes of a warp call it.
__device__ inline SequenceTile costly_first(const int* cu, int sequences, int tile, int slot) {
  constexpr int few = 256;
  return sequences <= few ? detail::highest_first(cu, sequences, tile, slot)
                          : detail::in_order(cu, sequences, tile, slot, 1);
}

/// Rows of one head of one sequence.
template <class T>
struct RowsOfHead {
  T* data;
  std::ptrdiff_t stride;
  __device__ RowsOfHead(const Matrix<T>& x, int row, int head, int head_dim)
      : data(x.row(row) + head * head_dim), stride(x.stride) {}
  __device__ T* row(int i) const { return data + i * stride; }
};

/// The keys or values of one head of one sequence, in pages.
template <class T>
struct PagedHeadRows {
  PagedRows<T> pages;
  const int* table;
  int head, head_dim;
  __device__ T* row(int i) const {
    return pages.row(table[i / pages.page_tokens], head, i % pages.page_tokens, head_dim);
  }
};

/// The same as below from pages: the place of a row is looked up, and nothing is looked up for rows from `end` on.
template <int Width, int Rows, int Threads, class T>
__device__ void copy_tile(unsigned tile, const PagedHeadRows<const T>& from, int first, int end, int head_dim,
                          int thread) {
  constexpr int chunks = Width / 8;
#pragma unroll
  for (int i = thread; i < Rows * chunks; i += Threads) {
    const int row = i / chunks, chunk = i % chunks;
    copy_async(SharedTile<Width>::at(tile, row, chunk), from.row(min(first + row, end - 1)) + chunk * 8,
               first + row < end && chunk * 8 < head_dim);
  }
}

/// Starts copying Rows rows from row `first` to a tile; rows from `end` on and columns from head_dim on become zeros.
template <int Width, int Rows, int Threads, class T>
__device__ void copy_tile(unsigned tile, const RowsOfHead<const T>& from, int first, int end, int head_dim,
                          int thread) {
  constexpr int chunks = Width / 8;
  if constexpr (Threads % chunks == 0) {  // a thread keeps to one column of chunks, and steps by a fixed number of rows
    constexpr int step = Threads / chunks;
    const int row = thread / chunks, chunk = thread % chunks, there = chunk * 8 < head_dim ? end - first - row : 0;
    const T* source = from.row(first + row) + chunk * 8;
#pragma unroll
    for (int i = 0; i < Rows; i += step, source += step * from.stride)
      copy_async(SharedTile<Width>::at(tile, row + i, chunk), source, i < there);
  } else {
#pragma unroll
    for (int i = thread; i < Rows * chunks; i += Threads) {
      const int row = i / chunks, chunk = i % chunks;
      copy_async(SharedTile<Width>::at(tile, row, chunk), from.row(first + row) + chunk * 8,
                 first + row < end && chunk * 8 < head_dim);
    }
  }
}

/// How many keys a sequence has, and the place of those of one head.
template <class T>
__device__ int key_count(const AttentionFwd<T>& a, int b) {
  return a.cu_k[b + 1] - a.cu_k[b];
}
template <class T>
__device__ int key_count(const PagedAttentionFwd<T>& a, int b) {
  return a.cu_keys[b + 1] - a.cu_keys[b];
}
template <class T>
__device__ RowsOfHead<const T> head_rows(const AttentionFwd<T>& a, const Matrix<const T>& x, int b, int kv_head) {
  return {x, a.cu_k[b], kv_head, a.shape.head_dim};
}
template <class T>
__device__ PagedHeadRows<const T> head_rows(const PagedAttentionFwd<T>& a, const PagedRows<const T>& x, int b,
                                            int kv_head) {
  return {x, a.tables.of(b), kv_head, a.shape.head_dim};
}

/// The narrowest of the tile widths that kernels are built for which holds a head: run.template operator()<Width>().
template <class F>
void with_tile_width(int head_dim, F run) {
  if (head_dim <= 64) return run.template operator()<64>();
  if (head_dim <= 80) return run.template operator()<80>();
  return run.template operator()<128>();
}

/// Error if shapes are not what attention's kernels take.
inline void expect_attention(const AttentionShape& s) {
  if (s.heads < 1 || s.kv_heads < 1 || s.head_dim < 1 || s.heads % s.kv_heads != 0) {
    fail("attention: ", s.heads, " heads of ", s.head_dim, " over ", s.kv_heads,
         " kv heads; wanted positive counts and heads a multiple of kv heads");
  }
  if (s.head_dim > 128) fail("attention: heads of ", s.head_dim, "; the CUDA kernels take at most 128");
  if (!(s.scale > 0)) fail("attention: scale is ", s.scale, "; the CUDA kernels want a positive one");
}
/// Error if 16-byte copies cannot reach the heads of x.
template <class T>
void expect_chunks(const char* name, const Matrix<T>& x, const AttentionShape& s) {
  if (s.head_dim % 8 != 0 || x.stride % 8 != 0 || reinterpret_cast<std::uintptr_t>(x.data) % 16 != 0) {
    fail("attention: ", name, " has heads of ", s.head_dim, ", rows ", x.stride,
         " apart; 16-bit kernels want both a multiple of 8, and rows that start at multiples of 16 bytes");
  }
}

}  // namespace lamina::kernel::cuda
