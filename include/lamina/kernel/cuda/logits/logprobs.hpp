#pragma once
#include <lamina/kernel/logits/logprobs.hpp>

template <>
struct lamina::kernel::logprobs<lamina::Cuda> {
  /// At most 262,144 logits per row. `out` may be staging memory.
  template <class T>
  static void rows(Stream<Cuda> s, const Logprobs<T>& a);
};
