#pragma once
#include <cstddef>

#include <lamina/kernel/ranks/across_ranks.hpp>

template <>
struct lamina::kernel::across_ranks<lamina::Cuda> {
  template <class T>
  static void sum(Stream<Cuda> s, const RankSum<T>& a);
  template <class T>
  static void sum_norm(Stream<Cuda> s, const RankSumNorm<T>& a);
  template <class T>
  static void gather(Stream<Cuda> s, const RankGather<T>& a);
  static void broadcast(Stream<Cuda> s, const RankBroadcast& a);

  /// Ranks' parts come one after the other; of one row that is where they belong.
  template <class T>
  static std::size_t workspace_bytes(const RankGather<T>& a) {
    return a.y.rows > 1 ? sizeof(T) * static_cast<std::size_t>(a.y.rows) * static_cast<std::size_t>(a.y.cols) : 0;
  }
};
