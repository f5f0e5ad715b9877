#pragma once
#include <lamina/kernel/elementwise/embedding_noise.hpp>

/// Adds the noise that the CPU adds.
template <>
struct lamina::kernel::embedding_noise<lamina::Cuda> {
  template <class T>
  static void add(Stream<Cuda> s, const EmbeddingNoise<T>& a);
};
