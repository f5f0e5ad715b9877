#pragma once
#include <lamina/core/quantization/matrix.hpp>
#include <lamina/kernel/cuda/device/launch.cuh>
#include <lamina/kernel/cuda/matmul/matmul.hpp>

/// Quantised weights as matrices of the activations' element type, for products that read those.
namespace lamina::kernel::cuda {

inline constexpr int dequantize_threads = 256, dequantize_each = 8;

/// Eight codes of 4 bits, whose first one begins a group of four bytes, and which share a scale.
__device__ inline void decode_word(const QuantizedMatrix& from, std::size_t element, float scale, float* w) {
  const std::uint32_t word = *reinterpret_cast<const std::uint32_t*>(from.codes + element / 2);
#pragma unroll
  for (int i = 0; i < 8; ++i) w[i] = from.values[word >> (i / 2 * 8 + (i % 2 == 0 ? 4 : 0)) & 15] * scale;
}

/// to[r, c] = from[r, c], or if Transposed to[c, r] = from[r, c]; a thread has eight neighbours of a row of `from`.
template <bool Transposed, class T>
__global__ void dequantize(QuantizedMatrix from, Matrix<T> to) {
  constexpr int each = dequantize_each;
  const int pieces = ceil_div(from.cols, each);
  const long piece = blockIdx.x * static_cast<long>(dequantize_threads) + threadIdx.x;
  const int r = static_cast<int>(piece / pieces), c0 = static_cast<int>(piece % pieces) * each;
  if (r >= from.rows) return;
  const int count = min(each, from.cols - c0);
  float w[each];
  const std::size_t first = from.element(r, c0);
  if (bits(from.format.code) == 4 && first % each == 0 && from.left_in_block(r, c0) >= each)
    decode_word(from, first, from.scale(from.block_of(r, c0)), w);
  else
    from.decode(r, c0, count, w);
  if (!Transposed && count == each && to.stride % each == 0) {
#pragma unroll
    for (int p = 0; p < each; p += piece_elements<T>)
      *reinterpret_cast<uint4*>(to.row(r) + c0 + p) = narrow_piece<T>(w + p);
    return;
  }
  for (int i = 0; i < count; ++i) (Transposed ? to(c0 + i, r) : to(r, c0 + i)) = narrow<T>(w[i]);
}

/// A quantised weight, or its transpose, as a new matrix in scratch, whose rows are filled up with zeros
/// (weight_copy_stride).
template <bool Transposed, class T>
Matrix<const T> dequantized(Stream<Cuda> s, const Weight& w) {
  const int rows = Transposed ? w.cols : w.rows, cols = Transposed ? w.rows : w.cols;
  const std::ptrdiff_t stride = weight_copy_stride(cols);
  const std::size_t count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(stride);
  const Matrix<T> to(s.scratch->take<T>(count), rows, cols, stride);
  if (stride != cols) check(cudaMemsetAsync(to.data, 0, count * sizeof(T), s.handle), "clearing a weight's copy");
  int row = 0;
  for (const QuantizedMatrix* part = w.quantized; row < w.rows; row += part->rows, ++part) {
    const Matrix<T> place = Transposed ? to.columns(row, part->rows) : to.row_range(row, part->rows);
    const long pieces = static_cast<long>(part->rows) * ceil_div(part->cols, dequantize_each);
    const auto blocks = static_cast<unsigned>((pieces + dequantize_threads - 1) / dequantize_threads);
    dequantize<Transposed><<<blocks, dequantize_threads, 0, s.handle>>>(*part, place);
    check_launch("dequantize");
  }
  return to;
}

}  // namespace lamina::kernel::cuda
