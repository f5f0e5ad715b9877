#pragma once
#include <lamina/kernel/cuda/attention/cache.hpp>
#include <lamina/kernel/cuda/device/launch.cuh>

namespace lamina::kernel::cuda {

/// One row of blocks a token.
template <class T>
__global__ void append_to_cache(CacheAppend<T> a) {
  const int n = blockIdx.y, row = *a.end - a.k.rows + n;
  for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < a.k.cols; c += gridDim.x * blockDim.x) {
    a.k_cache(row, c) = a.k(n, c);
    a.v_cache(row, c) = a.v(n, c);
  }
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::cache<lamina::Cuda>::append(Stream<Cuda> s, const CacheAppend<T>& a) {
  constexpr int threads = 256;
  if (a.k.rows == 0) return;
  cuda::append_to_cache<T><<<dim3(cuda::ceil_div(a.k.cols, threads), a.k.rows), threads, 0, s.handle>>>(a);
  cuda::check_launch("append_to_cache");
}
