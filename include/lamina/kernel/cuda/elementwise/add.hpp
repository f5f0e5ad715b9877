#pragma once
#include <lamina/kernel/elementwise/add.hpp>

template <>
struct lamina::kernel::add<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const Add<T>& a);
  template <class T>
  static void copy(Stream<Cuda> s, const Add<T>& a);
};
