#pragma once
#include <algorithm>

#include <lamina/kernel/attention/paged_attention.hpp>

namespace lamina::kernel::cuda {
/// Of a row's partial result: o, its reference and its sum, a multiple of 16 bytes.
constexpr int part_row_floats(int head_dim) { return head_dim + 4; }
}  // namespace lamina::kernel::cuda

/// At most 1024 sequences, 16 key/value heads, 8 query heads for each, heads of at most 128; of fp32 heads of at most
/// 256.
template <>
struct lamina::kernel::paged_attention<lamina::Cuda> {
  static void edit(Stream<Cuda> s, const PageTableEdits& a);
  template <class T>
  static void write(Stream<Cuda> s, const PagedWrite<T>& a);
  template <class T>
  static void rotate_and_write(Stream<Cuda> s, const RotateAndWrite<T>& a);
  static void split(Stream<Cuda> s, const SplitKeys& a);
  template <class T>
  static void decode(Stream<Cuda> s, const PagedAttentionFwd<T>& a);
  template <class T>
  static void forward(Stream<Cuda> s, const PagedAttentionFwd<T>& a);

  /// What decode() takes of its stream's scratch: partial results of all splits.
  template <class T>
  static std::size_t workspace_bytes(const PagedAttentionFwd<T>& a) {
    return sizeof(float) * static_cast<std::size_t>(a.splits.most) * a.shape.heads *
           cuda::part_row_floats(a.shape.head_dim);
  }
  /// Workers that keep a GPU of so many multiprocessors busy, for KeySplits.
  static int workers(int multiprocessors, int kv_heads) { return std::max(1, 3 * multiprocessors / kv_heads); }
};
