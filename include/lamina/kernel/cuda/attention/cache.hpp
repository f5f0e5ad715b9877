#pragma once
#include <lamina/kernel/cache.hpp>

template <>
struct lamina::kernel::cache<lamina::Cuda> {
  template <class T>
  static void append(Stream<Cuda> s, const CacheAppend<T>& a);
};
