#pragma once
#include <lamina/core/param.hpp>
#include <lamina/kernel/cuda/launch.cuh>

/// Weights as products want them: of the activations' element type, 16-byte aligned, where asked for transposed.
namespace lamina::kernel::cuda {

/// to[r, c] = from[r, c], or to[c, r] where Transposed. One block a 32 x 32 tile.
template <bool Transposed, class T, class W>
__global__ void weight_copy(Matrix<const W> from, T* to, std::ptrdiff_t to_stride) {
  __shared__ float tile[32][33];
  const int r0 = blockIdx.y * 32, c0 = blockIdx.x * 32, x = threadIdx.x;
  for (int y = threadIdx.y; y < 32; y += blockDim.y) {
    const bool inside = r0 + y < from.rows && c0 + x < from.cols;
    const float value = inside ? widen(from(r0 + y, c0 + x)) : 0.0f;
    if constexpr (Transposed)
      tile[y][x] = value;
    else if (inside)
      to[(r0 + y) * to_stride + c0 + x] = narrow<T>(value);
  }
  if constexpr (Transposed) {
    __syncthreads();
    for (int y = threadIdx.y; y < 32; y += blockDim.y) {
      if (c0 + y < from.cols && r0 + x < from.rows) to[(c0 + y) * to_stride + r0 + x] = narrow<T>(tile[x][y]);
    }
  }
}

template <bool Transposed, class T, class W>
Matrix<const T> copied_weight(Stream<Cuda> s, const Weight& w) {
  const int rows = Transposed ? w.cols : w.rows, cols = Transposed ? w.rows : w.cols;
  const std::ptrdiff_t stride = (static_cast<std::ptrdiff_t>(cols) + 7) / 8 * 8;
  T* to = s.scratch->take<T>(static_cast<std::size_t>(rows) * stride);
  if (rows > 0 && cols > 0) {
    const Matrix<const W> from(static_cast<const W*>(w.data), w.rows, w.cols, w.stride);
    weight_copy<Transposed>
        <<<dim3(ceil_div(w.cols, 32), ceil_div(w.rows, 32)), dim3(32, 8), 0, s.handle>>>(from, to, stride);
    check_launch("weight_copy");
  }
  return {to, rows, cols, stride};
}

/// The weight, or its transpose, as a new matrix in scratch.
template <bool Transposed, class T>
Matrix<const T> weight_copy_as(Stream<Cuda> s, const Weight& w) {
  switch (w.dtype) {
    case DType::BF16:
      return copied_weight<Transposed, T, bf16>(s, w);
    case DType::F16:
      return copied_weight<Transposed, T, f16>(s, w);
    default:
      return copied_weight<Transposed, T, float>(s, w);
  }
}
/// The weight itself where its elements are T, else a copy in scratch.
template <class T>
Matrix<const T> weight_as(Stream<Cuda> s, const Weight& w) {
  if (w.dtype == dtype_of<T>) return {static_cast<const T*>(w.data), w.rows, w.cols, w.stride};
  return weight_copy_as<false, T>(s, w);
}

}  // namespace lamina::kernel::cuda
