#pragma once
#include <lamina/kernel/attention.hpp>

template <>
struct lamina::kernel::attention<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda>, const AttentionFwd<T>&);
  template <class T>
  static void backward(Stream<Cuda>, const AttentionBwd<T>&);
};
