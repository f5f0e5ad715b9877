#pragma once
#include <lamina/kernel/elementwise/dropout.hpp>

/// Drops the elements that the CPU drops.
template <>
struct lamina::kernel::dropout<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, DropoutMask mask, const Dropout<T>& a);
};
