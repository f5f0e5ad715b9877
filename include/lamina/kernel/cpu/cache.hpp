#pragma once
#include <cstring>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cache.hpp>

template <>
struct lamina::kernel::cache<lamina::Cpu> {
  template <class T>
  static void append(Stream<Cpu>, const CacheAppend<T>& a) {
    const int first = *a.end - a.k.rows;
    parallel_for(a.k.rows, [=](std::int64_t n) {
      const int row = static_cast<int>(n);
      std::memcpy(a.k_cache.row(first + row), a.k.row(row), sizeof(T) * static_cast<std::size_t>(a.k.cols));
      std::memcpy(a.v_cache.row(first + row), a.v.row(row), sizeof(T) * static_cast<std::size_t>(a.v.cols));
    });
  }
};
