#pragma once
#include <lamina/kernel/matmul/add_adapters.hpp>

/// Tensor cores for half precision and widths that divide by 8, else plain sums.
template <>
struct lamina::kernel::add_adapters<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const AddAdapters<T>& a);
  template <class T>
  static void finish(Stream<Cuda> s, const AdaptedProduct<T>& a);
};
