#pragma once
#include <lamina/core/threads.hpp>
#include <lamina/kernel/elementwise/convert.hpp>

template <>
struct lamina::kernel::convert<lamina::Cpu> {
  template <class From, class To>
  static void run(Stream<Cpu>, const Convert<From, To>& a) {
    constexpr std::size_t block = 1 << 14;
    parallel_for(static_cast<std::int64_t>((a.n + block - 1) / block), [=](std::int64_t b) {
      const std::size_t first = static_cast<std::size_t>(b) * block, last = first + block < a.n ? first + block : a.n;
      for (std::size_t i = first; i < last; ++i) a.to[i] = round_to<To>(to_f32(a.from[i]));
    });
  }
};
