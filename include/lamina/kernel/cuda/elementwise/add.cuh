#pragma once
#include <lamina/kernel/cuda/elementwise/add.hpp>
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>

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
template <class T>
struct copy_rows {
  Add<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    move<Each>(a.x.row(row) + column, a.y.row(row) + column);
  }
};

template <template <class> class Op, class T>
void launch_add(Stream<Cuda> s, const Add<T>& a, const char* name) {
  constexpr int n = piece_elements<T>;
  launch_elementwise<n>(s, a.x.rows, a.x.cols, in_pieces<n>(a.x) && in_pieces<n>(a.y), Op<T>{a}, name);
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
void add<Cuda>::forward(Stream<Cuda> s, const Add<T>& a) {
  cuda::launch_add<cuda::add_fwd>(s, a, "add");
}
template <class T>
void add<Cuda>::copy(Stream<Cuda> s, const Add<T>& a) {
  cuda::launch_add<cuda::copy_rows>(s, a, "copy_rows");
}

}  // namespace lamina::kernel
