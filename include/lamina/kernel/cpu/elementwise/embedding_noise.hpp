#pragma once
#include <lamina/core/threads.hpp>
#include <lamina/kernel/elementwise/embedding_noise.hpp>

template <>
struct lamina::kernel::embedding_noise<lamina::Cpu> {
  template <class T>
  static void add(Stream<Cpu>, const EmbeddingNoise<T>& a);
};

template <class T>
void lamina::kernel::embedding_noise<lamina::Cpu>::add(Stream<Cpu>, const EmbeddingNoise<T>& a) {
  parallel_for(a.x.rows, [&](std::int64_t n) {
    T* const row = a.x.row(static_cast<int>(n));
    const float m = a.magnitude(static_cast<int>(n));
    for (int i = 0; i < a.x.cols; ++i)
      row[i] = round_to<T>(to_f32(row[i]) + a.noise(m, static_cast<std::uint64_t>(n) * a.x.cols + i));
  });
}
