#pragma once
#include <lamina/kernel/matmul/magnitude.hpp>

/// W, A and B are of the element type of activations. Sums are made in a fixed order.
template <>
struct lamina::kernel::magnitude<lamina::Cuda> {
  template <class T>
  static void norms(Stream<Cuda> s, const RowNorms<T>& a);
  template <class T>
  static void forward(Stream<Cuda> s, const MagnitudeFwd<T>& a);
  template <class T>
  static void backward(Stream<Cuda> s, const MagnitudeBwd<T>& a);
};
