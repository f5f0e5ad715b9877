#pragma once
#include <algorithm>
#include <cstddef>
#include <lamina/kernel/rows/rows.hpp>

namespace lamina::kernel::cuda {
/// What ordering `entries` entries by the row of the table that they go to takes of scratch.
inline std::size_t table_order_bytes(int entries, int table_rows) {
  const auto ints = [](std::size_t n) { return (n * sizeof(int) + 255) / 256 * 256; };
  return ints(static_cast<std::size_t>(table_rows) + 1) + ints(table_rows) + 2 * ints(entries);
}
}  // namespace lamina::kernel::cuda

/// backward    each row of dw is added to by one block, in order of n: bit-equal from run to run
template <>
struct lamina::kernel::embedding<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const EmbeddingFwd<T>& a);
  template <class T>
  static void backward(Stream<Cuda> s, const EmbeddingBwd<T>& a);

  template <class T>
  static std::size_t workspace_bytes(const EmbeddingFwd<T>&) {
    return 0;
  }
  template <class T>
  static std::size_t workspace_bytes(const EmbeddingBwd<T>& a) {
    return cuda::table_order_bytes(a.dy.rows, a.dw.rows);
  }
};

/// backward    as embedding's, in order of 4 n + k
template <>
struct lamina::kernel::learned_position<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const LearnedPositionFwd<T>& a);
  template <class T>
  static void backward(Stream<Cuda> s, const LearnedPositionBwd<T>& a);

  template <class T>
  static std::size_t workspace_bytes(const LearnedPositionFwd<T>&) {
    return 0;
  }
  template <class T>
  static std::size_t workspace_bytes(const LearnedPositionBwd<T>& a) {
    return cuda::table_order_bytes(4 * a.dy.rows, a.dw.rows);
  }
};
