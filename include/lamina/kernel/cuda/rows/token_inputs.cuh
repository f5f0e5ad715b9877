#pragma once
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/rows/token_inputs.hpp>

namespace lamina::kernel::cuda {

/// A block takes a token, a thread one frequency of it.
template <int Threads>
__global__ void __launch_bounds__(Threads) token_inputs_fwd(TokenInputs a) {
  start_in_turn();
  const int n = blockIdx.x, half = a.cos.cols;
  if (threadIdx.x == 0) a.ids[n] = a.id(n);
  for (int j = threadIdx.x; j < half; j += Threads) {
    const float* turn = a.turns.row(a.positions[3 * n + a.axis[j]]);
    a.cos(n, j) = turn[j];
    a.sin(n, j) = turn[half + j];
  }
}

}  // namespace lamina::kernel::cuda

[[gnu::used]] inline void lamina::kernel::token_inputs<lamina::Cuda>::forward(Stream<Cuda> s, const TokenInputs& a) {
  if (a.cos.rows == 0) return;
  if (2 * a.cos.cols > TokenInputs::max_head_dim)
    fail("token_inputs: heads of ", 2 * a.cos.cols, "; the kernel takes ", TokenInputs::max_head_dim);
  constexpr int threads = 64;
  cuda::launch_dependent(s, cuda::token_inputs_fwd<threads>, a.cos.rows, threads, a);
  cuda::check_launch("token_inputs_fwd");
}
