#pragma once
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/cuda/matmul/magnitude.hpp>

namespace lamina::kernel::cuda {

inline constexpr int magnitude_threads = 256, norm_rows_of_block = 8;

/// One block for 8 rows of W, so that what it reads of A serves all of them.
template <class T>
__global__ void __launch_bounds__(magnitude_threads) row_norms(RowNorms<T> a) {
  extern __shared__ float b[];  // (8, R), times scale
  const int first = blockIdx.x * norm_rows_of_block, count = min(norm_rows_of_block, a.w.rows - first), R = a.a.rows;
  for (int i = threadIdx.x; i < norm_rows_of_block * R; i += magnitude_threads) {
    const int n = i / R, r = i % R;
    b[i] = n < count ? a.scale * widen(static_cast<const T*>(a.b.data)[(first + n) * a.b.stride + r]) : 0;
  }
  __syncthreads();
  float squares[norm_rows_of_block] = {};
  for (int k = threadIdx.x; k < a.w.cols; k += magnitude_threads) {
    float v[norm_rows_of_block];
#pragma unroll
    for (int n = 0; n < norm_rows_of_block; ++n)
      v[n] = n < count ? widen(static_cast<const T*>(a.w.data)[(first + n) * a.w.stride + k]) : 0;
    for (int r = 0; r < R; ++r) {
      const float low = widen(static_cast<const T*>(a.a.data)[r * a.a.stride + k]);
#pragma unroll
      for (int n = 0; n < norm_rows_of_block; ++n) v[n] += b[n * R + r] * low;
    }
#pragma unroll
    for (int n = 0; n < norm_rows_of_block; ++n) squares[n] += v[n] * v[n];
  }
  for (int n = 0; n < norm_rows_of_block; ++n) {
    const float sum = block_sum<magnitude_threads>(squares[n]);
    if (threadIdx.x == 0 && n < count) a.norms[first + n] = sqrtf(sum);
    __syncthreads();  // block_sum's memory serves the next row
  }
}

template <class T>
struct magnitude_fwd {
  MagnitudeFwd<T> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    float z[Each], y[Each] = {}, bias[Each] = {};
    load_elements(a.z.row(row) + column, z);
    if (a.beta != 0) load_elements(a.y.row(row) + column, y);
    if (a.bias) load_elements(a.bias + column, bias);
#pragma unroll
    for (int e = 0; e < Each; ++e)
      y[e] = a.m[column + e] / a.norms[column + e] * z[e] + bias[e] + (a.beta != 0 ? a.beta * y[e] : 0);
    store_elements(a.y.row(row) + column, y);
  }
};

inline constexpr int magnitude_rows = 16;

/// A block has 32 columns, all rows of them: thread (x, y) takes rows y, y + 16, ... of column x.
template <class T>
__global__ void __launch_bounds__(warp_size* magnitude_rows) magnitude_bwd(MagnitudeBwd<T> a) {
  __shared__ float sums[magnitude_rows][warp_size];
  const int c = blockIdx.x * warp_size + threadIdx.x, y = threadIdx.y;
  float sum = 0;
  if (c < a.dy.cols) {
    const float factor = a.m[c] / a.norms[c];
#pragma unroll 4
    for (int n = y; n < a.dy.rows; n += magnitude_rows) {
      const float d = widen(a.dy(n, c));
      sum += d * widen(a.z(n, c));
      a.dz(n, c) = narrow<T>(factor * d);
    }
  }
  sums[y][threadIdx.x] = sum;
  __syncthreads();
  if (y > 0 || c >= a.dy.cols || !a.dm) return;
  for (int other = 1; other < magnitude_rows; ++other) sum += sums[other][threadIdx.x];
  a.dm[c] += sum / a.norms[c];
}

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class T>
void magnitude<Cuda>::norms(Stream<Cuda> s, const RowNorms<T>& a) {
  const bool adapted = a.a.rows > 0;
  if (a.w.dtype != dtype_of<T> || (adapted && (a.a.dtype != dtype_of<T> || a.b.dtype != dtype_of<T>)))
    fail("magnitude: W is ", name_of(a.w.dtype), ", wanted W, A and B in ", name_of(dtype_of<T>));
  const int blocks = cuda::ceil_div(a.w.rows, cuda::norm_rows_of_block),
            shared = cuda::norm_rows_of_block * a.a.rows * static_cast<int>(sizeof(float));
  if (shared > 48 << 10) cuda::allow_shared(cuda::row_norms<T>, shared);
  cuda::row_norms<T><<<blocks, cuda::magnitude_threads, shared, s.handle>>>(a);
  cuda::check_launch("row_norms");
}

template <class T>
void magnitude<Cuda>::forward(Stream<Cuda> s, const MagnitudeFwd<T>& a) {
  constexpr int n = cuda::piece_elements<T>;
  const bool whole = cuda::in_pieces<n>(a.z) && cuda::in_pieces<n>(a.y) && cuda::is_aligned(a.bias);
  cuda::launch_elementwise<n>(s, a.y.rows, a.y.cols, whole, cuda::magnitude_fwd<T>{a}, "magnitude_fwd");
}

template <class T>
void magnitude<Cuda>::backward(Stream<Cuda> s, const MagnitudeBwd<T>& a) {
  if (a.dy.rows == 0) return;
  const int blocks = cuda::ceil_div(a.dy.cols, cuda::warp_size);
  cuda::magnitude_bwd<T><<<blocks, dim3(cuda::warp_size, cuda::magnitude_rows), 0, s.handle>>>(a);
  cuda::check_launch("magnitude_bwd");
}

}  // namespace lamina::kernel
