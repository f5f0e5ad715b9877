#pragma once
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/cuda/elementwise/embedding_noise.hpp>

namespace lamina::kernel::cuda {

/// A block per row.
template <class T, int Threads>
__global__ void __launch_bounds__(Threads) embedding_noise_add(EmbeddingNoise<T> a) {
  const int n = blockIdx.x;
  const float m = a.magnitude(n);
  T* const row = a.x.row(n);
  for (int i = threadIdx.x; i < a.x.cols; i += Threads)
    row[i] = narrow<T>(widen(row[i]) + a.noise(m, static_cast<std::uint64_t>(n) * a.x.cols + i));
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
void embedding_noise<Cuda>::add(Stream<Cuda> s, const EmbeddingNoise<T>& a) {
  if (a.x.rows == 0) return;
  constexpr int threads = 256;
  cuda::embedding_noise_add<T, threads><<<a.x.rows, threads, 0, s.handle>>>(a);
  cuda::check_launch("embedding_noise");
}

}  // namespace lamina::kernel
