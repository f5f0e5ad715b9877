#pragma once
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>

/// Kernels in which every element has its own work: one thread takes Each neighbouring elements of a row, as many as
/// make 16 bytes, or one if the rows of some operand do not consist of such pieces.
namespace lamina::kernel::cuda {

/// Whether rows consist of pieces of Each elements that 16-byte accesses can move.
template <int Each, class T>
bool in_pieces(const Matrix<T>& m) {
  return m.cols % Each == 0 && m.stride % piece_elements<std::remove_const_t<T>> == 0 && is_aligned(m.data);
}
template <int Each>
bool in_pieces(const Weight& w) {
  const std::ptrdiff_t elements = w.dtype == DType::F32 ? 4 : 8;
  return w.cols % Each == 0 && w.stride % elements == 0 && is_aligned(w.data);
}

/// Each elements as fp32. Each is 1 or a number of whole pieces.
template <int Each, class T>
__device__ void load_elements(const T* from, float (&to)[Each]) {
  if constexpr (Each == 1) {
    to[0] = widen(*from);
  } else {
    constexpr int n = piece_elements<T>;
    uint4 raw[Each / n];
#pragma unroll
    for (int p = 0; p < Each / n; ++p) raw[p] = reinterpret_cast<const uint4*>(from)[p];
#pragma unroll
    for (int p = 0; p < Each / n; ++p) widen_piece<T>(raw[p], to + p * n);
  }
}
template <int Each, class T>
__device__ void store_elements(T* to, const float (&from)[Each]) {
  if constexpr (Each == 1) {
    *to = narrow<T>(from[0]);
  } else {
    constexpr int n = piece_elements<T>;
#pragma unroll
    for (int p = 0; p < Each / n; ++p) reinterpret_cast<uint4*>(to)[p] = narrow_piece<T>(from + p * n);
  }
}

/// Moves Each elements, one or a piece, as they are.
template <int Each, class T>
__device__ void move(const T* from, T* to) {
  if constexpr (Each == 1)
    *to = *from;
  else
    *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
}

inline constexpr int elementwise_threads = 256;

/// op.at<Each>(row, column) for the first element of every piece.
template <int Each, class Op>
__global__ void __launch_bounds__(elementwise_threads) elementwise(Op op, unsigned pieces, unsigned per_row) {
  if constexpr (requires { Op::writes_weights; })
    wait_for_earlier();
  else
    start_early(static_cast<int>(pieces / per_row));
  const unsigned i = blockIdx.x * elementwise_threads + threadIdx.x;
  if (i >= pieces) return;
  const unsigned row = i / per_row;
  op.template at<Each>(static_cast<int>(row), static_cast<int>(i - row * per_row) * Each);
}

/// Runs op over (rows, cols): in pieces of Each elements, or, if they are not whole, element by element.
template <int Each, class Op>
void launch_elementwise(Stream<Cuda> s, int rows, int cols, bool whole, const Op& op, const char* name) {
  const int per_row = whole ? cols / Each : cols;
  const std::int64_t pieces = static_cast<std::int64_t>(rows) * per_row;
  if (pieces == 0) return;
  if (pieces >= std::int64_t{1} << 32) fail(name, ": (", rows, ", ", cols, ") is more than one launch covers");
  const auto blocks = static_cast<unsigned>(ceil_div(pieces, std::int64_t{elementwise_threads}));
  const auto count = static_cast<unsigned>(pieces), row_count = static_cast<unsigned>(per_row);
  if (whole)
    launch_dependent(s, elementwise<Each, Op>, blocks, elementwise_threads, op, count, row_count);
  else
    launch_dependent(s, elementwise<1, Op>, blocks, elementwise_threads, op, count, row_count);
  check_launch(name);
}

}  // namespace lamina::kernel::cuda
