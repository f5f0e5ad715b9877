#pragma once
#include <lamina/kernel/matmul/grouped_matmul.hpp>

/// One launch for all groups, whose rows the device counts. Weights that are quantised are refused.
template <>
struct lamina::kernel::grouped_matmul<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const GroupedFwd<T>& a);
  template <class T>
  static void backward_input(Stream<Cuda> s, const GroupedBwdInput<T>& a);
  template <class T>
  static void backward_weight(Stream<Cuda> s, const GroupedBwdWeight<T>& a);
};
