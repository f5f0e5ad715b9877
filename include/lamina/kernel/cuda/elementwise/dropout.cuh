#pragma once
#include <lamina/kernel/cuda/elementwise/dropout.hpp>
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>

namespace lamina::kernel::cuda {

template <class T>
struct dropout_fwd {
  DropoutMask mask;
  Dropout<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    float x[Each];
    load_elements(a.x.row(row) + column, x);
    const DropoutMask of_step = mask.of_step();
    const std::uint64_t first = static_cast<std::uint64_t>(row) * a.x.cols + column;
#pragma unroll
    for (int e = 0; e < Each; ++e) x[e] *= of_step.factor(first + e);
    store_elements(a.y.row(row) + column, x);
  }
};

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
void dropout<Cuda>::forward(Stream<Cuda> s, DropoutMask mask, const Dropout<T>& a) {
  constexpr int n = cuda::piece_elements<T>;
  const bool whole = cuda::in_pieces<n>(a.x) && cuda::in_pieces<n>(a.y);
  cuda::launch_elementwise<n>(s, a.x.rows, a.x.cols, whole, cuda::dropout_fwd<T>{mask, a}, "dropout");
}

}  // namespace lamina::kernel
