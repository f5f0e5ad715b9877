#pragma once
#include <lamina/kernel/logits/adjust_logits.hpp>

template <>
struct lamina::kernel::adjust_logits<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const AdjustLogits<T>& a);
};
