#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/kernel/cuda/matmul/matmul.hpp>
#include <lamina/kernel/cuda/matmul/streamed/dequantize.cuh>

/// Weights as products want them: of the activations' element type, 16-byte aligned, if asked for transposed.
namespace lamina::kernel::cuda {

/// to[r, c] = from[r, c], or from[c, r] if Transposed; zeros up to the end of to's rows. One block per 32 x 32 tile.
template <bool Transposed, class T, class W>
__global__ void weight_copy(Matrix<const W> from, Matrix<T> to) {
  __shared__ float tile[32][33];
  const int r0 = blockIdx.y * 32, c0 = blockIdx.x * 32, x = threadIdx.x;
  for (int y = threadIdx.y; Transposed && y < 32; y += blockDim.y) {
    const bool inside = c0 + y < from.rows && r0 + x < from.cols;
    tile[y][x] = inside ? widen(from(c0 + y, r0 + x)) : 0.0f;
  }
  __syncthreads();
  for (int y = threadIdx.y; y < 32; y += blockDim.y) {
    const int r = r0 + y, c = c0 + x;
    if (r >= to.rows || c >= to.stride) continue;
    to(r, c) = narrow<T>(Transposed ? tile[x][y] : c < from.cols ? widen(from(r, c)) : 0.0f);
  }
}

template <bool Transposed, class T, class W>
Matrix<const T> copied_weight(Stream<Cuda> s, const Weight& w) {
  const int rows = Transposed ? w.cols : w.rows, cols = Transposed ? w.rows : w.cols;
  const std::ptrdiff_t stride = weight_copy_stride(cols);
  const Matrix<T> to(s.scratch->take<T>(static_cast<std::size_t>(rows) * stride), rows, cols, stride);
  if (rows > 0 && cols > 0) {
    const dim3 grid(ceil_div(static_cast<int>(stride), 32), ceil_div(rows, 32));
    const Matrix<const W> from(static_cast<const W*>(w.data), w.rows, w.cols, w.stride);
    weight_copy<Transposed><<<grid, dim3(32, 8), 0, s.handle>>>(from, to);
    check_launch("weight_copy");
  }
  return to;
}

/// The weight, or its transpose, as a new matrix in scratch.
template <bool Transposed, class T>
Matrix<const T> weight_copy_as(Stream<Cuda> s, const Weight& w) {
  if (w.quantized) return dequantized<Transposed, T>(s, w);
  switch (w.dtype) {
    case DType::BF16:
      return copied_weight<Transposed, T, bf16>(s, w);
    case DType::F16:
      return copied_weight<Transposed, T, f16>(s, w);
    default:
      return copied_weight<Transposed, T, float>(s, w);
  }
}
/// The weight itself if its elements are T, else a copy in scratch.
template <class T>
Matrix<const T> weight_as(Stream<Cuda> s, const Weight& w) {
  if (w.dtype == dtype_of<T>) return {static_cast<const T*>(w.data), w.rows, w.cols, w.stride};
  return weight_copy_as<false, T>(s, w);
}

/// The weight, or its transpose, in 16-byte pieces, its rows filled up with zeros to a multiple of `unit` elements: the
/// weight itself if it is so already.
template <bool Transposed, class T>
Matrix<const T> weight_in_pieces(Stream<Cuda> s, const Weight& w, int unit) {
  const Matrix<const T> as_is(static_cast<const T*>(w.data), w.rows, w.cols, w.stride);
  if (!Transposed && w.dtype == dtype_of<T> && in_pieces(as_is) && w.cols % unit == 0) return as_is;
  return weight_copy_as<Transposed, T>(s, w);
}

}  // namespace lamina::kernel::cuda
