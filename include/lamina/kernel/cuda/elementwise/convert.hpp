#pragma once
#include <lamina/kernel/elementwise/convert.hpp>

template <>
struct lamina::kernel::convert<lamina::Cuda> {
  template <class From, class To>
  static void run(Stream<Cuda> s, const Convert<From, To>& a);
};
