#pragma once
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/cuda/rows/rows.hpp>

namespace lamina::kernel::cuda {

template <class T>
struct rows_gather {
  Rows<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    move<Each>(a.x.row(a.index[row]) + column, a.y.row(row) + column);
  }
};
template <class T>
struct rows_scatter {
  Rows<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    move<Each>(a.x.row(row) + column, a.y.row(a.index[row]) + column);
  }
};
template <class T>
struct rows_scatter_add {
  Rows<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    T* to = a.y.row(a.index[row]) + column;
    float x[Each], y[Each];
    load_elements(a.x.row(row) + column, x);
    load_elements(to, y);
#pragma unroll
    for (int e = 0; e < Each; ++e) y[e] += x[e];
    store_elements(to, y);
  }
};

template <template <class> class Op, class T>
void launch_rows(Stream<Cuda> s, int count, const Rows<T>& a, const char* name) {
  constexpr int n = piece_elements<T>;
  launch_elementwise<n>(s, count, a.x.cols, in_pieces<n>(a.x) && in_pieces<n>(a.y), Op<T>{a}, name);
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
void rows<Cuda>::gather(Stream<Cuda> s, int count, const Rows<T>& a) {
  cuda::launch_rows<cuda::rows_gather>(s, count, a, "rows_gather");
}
template <class T>
void rows<Cuda>::scatter(Stream<Cuda> s, int count, const Rows<T>& a) {
  cuda::launch_rows<cuda::rows_scatter>(s, count, a, "rows_scatter");
}
template <class T>
void rows<Cuda>::scatter_add(Stream<Cuda> s, int count, const Rows<T>& a) {
  cuda::launch_rows<cuda::rows_scatter_add>(s, count, a, "rows_scatter_add");
}
template <class T>
void rows<Cuda>::zero(Stream<Cuda> s, Matrix<T> y) {
  const std::size_t width = y.cols * sizeof(T);
  if (y.rows == 0 || width == 0) return;
  cuda::check(y.stride == y.cols ? cudaMemsetAsync(y.data, 0, width * y.rows, s.handle)
                                 : cudaMemset2DAsync(y.data, y.stride * sizeof(T), 0, width, y.rows, s.handle),
              "clearing rows");
}

}  // namespace lamina::kernel
