#pragma once
#include <vector>

#include <lamina/kernel/cpu/elementwise/add.hpp>
#include <lamina/kernel/cpu/norm/norm_rows.hpp>
#include <lamina/kernel/expect.hpp>
#include <lamina/kernel/ranks/across_ranks.hpp>
#include <lamina/parallel/gpu/device_group.hpp>

template <>
struct lamina::kernel::across_ranks<lamina::Cpu> {
  template <class T>
  static void sum(Stream<Cpu> s, const RankSum<T>& a);
  template <class T>
  static void sum_norm(Stream<Cpu> s, const RankSumNorm<T>& a);
  template <class T>
  static void gather(Stream<Cpu> s, const RankGather<T>& a);
  static void broadcast(Stream<Cpu> s, const RankBroadcast& a) {
    parallel::ranks_of(s).broadcast(s, std::as_writable_bytes(std::span(a.values, static_cast<std::size_t>(a.count))),
                                    0);
  }
};

template <class T>
void lamina::kernel::across_ranks<lamina::Cpu>::sum(Stream<Cpu> s, const RankSum<T>& a) {
  static_assert(std::is_same_v<T, float>, "the CPU's activations are fp32");
  detail::expect_packed("across_ranks: x", a.x);
  parallel::ranks_of(s).all_reduce(s, elements_of(a.x));
  if (a.y) add<Cpu>::forward(s, Add<T>{.x = a.x, .y = a.y});
}
template <class T>
void lamina::kernel::across_ranks<lamina::Cpu>::sum_norm(Stream<Cpu> s, const RankSumNorm<T>& a) {
  sum(s, RankSum<T>{.x = {a.norm.s, a.norm.rows, a.norm.width}, .y = {}});
  norm_rows<Cpu>::forward(s, a.norm);
}
template <class T>
void lamina::kernel::across_ranks<lamina::Cpu>::gather(Stream<Cpu> s, const RankGather<T>& a) {
  parallel::DeviceGroup<Cpu>& ranks = parallel::ranks_of(s);
  std::vector<T> all(static_cast<std::size_t>(a.y.rows) * static_cast<std::size_t>(a.y.cols));
  ranks.all_gather(s, std::as_bytes(elements_of(a.x)), std::as_writable_bytes(std::span(all)));
  for (int rank = 0; rank < ranks.size(); ++rank)
    add<Cpu>::copy(s, Add<T>{.x = {all.data() + std::ptrdiff_t{rank} * a.x.rows * a.x.cols, a.x.rows, a.x.cols},
                             .y = a.y.columns(rank * a.x.cols, a.x.cols)});
}
