// The kernels for GPUs. An elementwise kernel is an object with at<Each>(row, column): Each neighbouring elements of a
// row, as many as make 16 bytes, or one if the rows do not consist of such pieces.
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>

#include "squared_relu.hpp"

namespace mine {
using namespace lamina::kernel::cuda;

template <class T>
struct squared_relu_fwd {
  SquaredReluFwd<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    float x[Each];
    load_elements(a.x.row(row) + column, x);
#pragma unroll
    for (int e = 0; e < Each; ++e) x[e] = fmaxf(x[e], 0.0f) * fmaxf(x[e], 0.0f);
    store_elements(a.y.row(row) + column, x);
  }
};
template <class T>
struct squared_relu_bwd {
  SquaredReluBwd<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    float x[Each], dy[Each];
    load_elements(a.x.row(row) + column, x);
    load_elements(a.dy.row(row) + column, dy);
#pragma unroll
    for (int e = 0; e < Each; ++e) dy[e] *= 2 * fmaxf(x[e], 0.0f);
    store_elements(a.dx.row(row) + column, dy);
  }
};

template <class T>
void squared_relu<Cuda>::forward(Stream<Cuda> s, const SquaredReluFwd<T>& a) {
  constexpr int n = piece_elements<T>;
  const bool whole = in_pieces<n>(a.x) && in_pieces<n>(a.y);
  launch_elementwise<n>(s, a.x.rows, a.x.cols, whole, squared_relu_fwd<T>{a}, "squared_relu_fwd");
}
template <class T>
void squared_relu<Cuda>::backward(Stream<Cuda> s, const SquaredReluBwd<T>& a) {
  constexpr int n = piece_elements<T>;
  const bool whole = in_pieces<n>(a.x) && in_pieces<n>(a.dy) && in_pieces<n>(a.dx);
  launch_elementwise<n>(s, a.x.rows, a.x.cols, whole, squared_relu_bwd<T>{a}, "squared_relu_bwd");
}

// The element types that models run in, compiled here once.
template void squared_relu<Cuda>::forward(Stream<Cuda>, const SquaredReluFwd<float>&);
template void squared_relu<Cuda>::forward(Stream<Cuda>, const SquaredReluFwd<bf16>&);
template void squared_relu<Cuda>::forward(Stream<Cuda>, const SquaredReluFwd<f16>&);
template void squared_relu<Cuda>::backward(Stream<Cuda>, const SquaredReluBwd<float>&);
template void squared_relu<Cuda>::backward(Stream<Cuda>, const SquaredReluBwd<bf16>&);
template void squared_relu<Cuda>::backward(Stream<Cuda>, const SquaredReluBwd<f16>&);

}  // namespace mine
