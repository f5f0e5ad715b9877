#pragma once
#include <lamina/kernel/cuda/add.hpp>
#include <lamina/kernel/cuda/elementwise.cuh>

namespace lamina::kernel::cuda {

template <class T>
struct add_fwd {
  Add<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    float x[Each], y[Each];
    load_elements(a.x.row(row) + column, x);
    load_elements(a.y.row(row) + column, y);
#pragma unroll
    for (int e = 0; e < Each; ++e) y[e] += x[e];
    store_elements(a.y.row(row) + column, y);
  }
};

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
void add<Cuda>::forward(Stream<Cuda> s, const Add<T>& a) {
  constexpr int n = cuda::piece_elements<T>;
  const bool whole = cuda::in_pieces<n>(a.x) && cuda::in_pieces<n>(a.y);
  cuda::launch_elementwise<n>(s, a.x.rows, a.x.cols, whole, cuda::add_fwd<T>{a}, "add");
}

template <class T>
void add<Cuda>::copy(Stream<Cuda> s, const Add<T>& a) {
  const std::size_t width = a.x.cols * sizeof(T);
  if (a.x.rows == 0 || width == 0) return;
  if (a.x.stride == a.x.cols && a.y.stride == a.y.cols)
    cuda::check(cudaMemcpyAsync(a.y.data, a.x.data, width * a.x.rows, cudaMemcpyDeviceToDevice, s.handle), "copy");
  else
    cuda::check(cudaMemcpy2DAsync(a.y.data, a.y.stride * sizeof(T), a.x.data, a.x.stride * sizeof(T), width, a.x.rows,
                                  cudaMemcpyDeviceToDevice, s.handle),
                "copy of rows");
}

}  // namespace lamina::kernel

#define LAMINA_CUDA_ADD(prefix, T)                                                        \
  prefix void lamina::kernel::add<lamina::Cuda>::forward<T>(Stream<Cuda>, const Add<T>&); \
  prefix void lamina::kernel::add<lamina::Cuda>::copy<T>(Stream<Cuda>, const Add<T>&)
