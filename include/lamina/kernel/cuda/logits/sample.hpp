#pragma once
#include <lamina/kernel/logits/sample.hpp>

template <>
struct lamina::kernel::sample<lamina::Cuda> {
  /// At most 262,144 logits per row.
  template <class T>
  static void rows(Stream<Cuda> s, const SampleRows<T>& a);
};
