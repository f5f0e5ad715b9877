#pragma once
#include <cstddef>
#include <cstdint>

#include <lamina/core/backend.hpp>
#include <lamina/core/host/device.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/attention/attention.hpp>
#include <lamina/kernel/no_kernels.hpp>
#include <lamina/kernel/norm/norm_rope.hpp>

/// The key/value cache in pages, so that sequences of any length share one block of memory, and attention that reads
/// it.
///
/// A page holds page_tokens keys of one layer, head after head: the 16 KiB of 64 keys of one head of 128 bf16 elements
/// are one run of memory. Token t of a sequence is row t % page_tokens of page table[t / page_tokens].
/// source      Kwon et al. 2023, arXiv:2309.06180
namespace lamina::kernel {

/// Keys or values of one layer: page, head, row, element.
template <class T>
struct PagedRows {
  T* data = nullptr;
  std::ptrdiff_t page_stride = 0;  ///< elements from one page to the next, at least kv_heads * page_tokens * head_dim
  int page_tokens = 0;             ///< 16, 32, 64 or 128

  LAMINA_HD T* row(int page, int head, int token, int head_dim) const {
    return data + page * page_stride + (std::ptrdiff_t{head} * page_tokens + token) * head_dim;
  }
  LAMINA_HD operator PagedRows<const T>() const { return {data, page_stride, page_tokens}; }
};

/// Page numbers of many sequences: entry i of sequence b is entries[rows[b] * stride + i]. In the backend's memory.
struct PageTables {
  const int* entries = nullptr;
  std::ptrdiff_t stride = 0;
  const int* rows = nullptr;  ///< (S) the request row of each sequence

  LAMINA_HD const int* of(int sequence) const { return entries + rows[sequence] * stride; }
};

/// Page tables change: entries[at[i]] = page[i] for i < count. No place occurs twice.
struct PageTableEdits {
  int* entries = nullptr;
  const int *at = nullptr, *page = nullptr;  ///< (count)
  int count = 0;
};

/// New keys and values join the cache: row n goes to row slots[n] % page_tokens of page slots[n] / page_tokens.
/// k, v (N, K * Dh); a negative slot is left out (rows that pad a recorded step).
template <class T>
struct PagedWrite {
  Matrix<const T> k, v;
  PagedRows<T> k_pages, v_pages;
  const int* slots = nullptr;  ///< (N)
  int head_dim = 0;
};

/// norm_rope of q and of k; then k.y and the values join the cache. A backend may leave k.y as it was.
template <class T>
struct RotateAndWrite {
  NormRopeFwd<T> q, k;
  PagedWrite<T> write;  ///< its k is k.y
};

/// A run of keys of a sequence that has one query: one sum is made of it, and the sums of a sequence are joined.
struct alignas(16) KeySplit {
  int sequence = 0, row = 0;  ///< row: of the sequence's query
  int first = 0, end = 0;     ///< keys [first, end)
  int index = 0, count = 0;   ///< the sequence's first split; how many splits it has
  int table = 0, place = 0;   ///< the sequence's request row; which of its splits this is
};

/// How decoding shares out the keys of many sequences among workers, made once per step and used by every layer.
/// Worker p takes the splits starts[p] .. starts[p + 1]. Keys are counted in tiles of 64, so that workers have equal
/// work. A sequence without keys has one empty split.
struct KeySplits {
  KeySplit* splits = nullptr;  ///< (S + workers, or S + tiles / fixed_tiles if that is set)
  int* starts = nullptr;       ///< (workers + 1)
  int most = 0;                ///< room for splits
  int workers = 0;
  int fixed_tiles = 0;  ///< length of all splits but a sequence's last, in tiles: a sequence's sums then do not depend
                        ///< on other sequences. 0: a worker's share of a sequence is one split
};
struct SplitKeys {
  const int* cu_q = nullptr;     ///< (S + 1)
  const int* cu_keys = nullptr;  ///< (S + 1)
  const int* rows = nullptr;     ///< (S) request rows
  int sequences = 0;
  KeySplits to;
};
inline constexpr int split_tile_keys = 64;
/// fixed_tiles for answers that do not depend on who else is served: splits of 512 keys.
inline constexpr int invariant_split_tiles = 8;

/// Softmax attention as in attention.hpp, causal, of queries against pages that already hold their own keys. Sequence b
/// has queries cu_q[b] .. cu_q[b + 1] and keys 0 .. cu_keys[b + 1] - cu_keys[b], its queries' own last: query i of Lq
/// sees the keys j <= i + Lk - Lq. For a sequence without keys, o = 0.
///
/// decode: every sequence has one query, and splits were made of the same cu_keys. The result of a sequence depends on
/// the other sequences only through how splits were made.
template <class T>
struct PagedAttentionFwd {
  Matrix<const T> q;  ///< (N, H * Dh)
  PagedRows<const T> k, v;
  Matrix<T> o;  ///< (N, H * Dh)
  PageTables tables;
  const int* cu_q = nullptr;     ///< (S + 1)
  const int* cu_keys = nullptr;  ///< (S + 1)
  int sequences = 0;
  AttentionShape shape;
  KeySplits splits = {};  ///< decode only
};

/// The cache of a whole decoder, and what one step does with it: of its S sequences the first `singles` read one token
/// each, the rest chunks of several. All in the backend's memory.
template <class T>
struct PagedCache {
  PagedRows<T> k, v;                ///< of the first layer
  std::ptrdiff_t layer_stride = 0;  ///< elements from a layer's rows to the next layer's
  const int* slots = nullptr;       ///< (N) where each token's keys and values go
  PageTables tables;
  const int* cu_q = nullptr;     ///< (S + 1)
  const int* cu_keys = nullptr;  ///< (S + 1)
  int singles = 0, chunks = 0;   ///< S = singles + chunks
  KeySplits splits;              ///< of the singles

  static PagedRows<T> at_layer(PagedRows<T> first, std::ptrdiff_t stride, int layer) {
    return {first.data + layer * stride, first.page_stride, first.page_tokens};
  }
  PagedRows<T> keys(int layer) const { return at_layer(k, layer_stride, layer); }
  PagedRows<T> values(int layer) const { return at_layer(v, layer_stride, layer); }
};

template <class B>
struct paged_attention {
  static void edit(auto...) { no_kernels<B>(); }
  static void write(auto...) { no_kernels<B>(); }
  static void rotate_and_write(auto...) { no_kernels<B>(); }
  static void split(auto...) { no_kernels<B>(); }
  static void decode(auto...) { no_kernels<B>(); }
  static void forward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
