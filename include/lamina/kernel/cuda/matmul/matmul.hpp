#pragma once
#include <algorithm>
#include <cstddef>

#include <lamina/kernel/matmul/matmul.hpp>

namespace lamina::kernel::cuda {

/// Up to this width a product with an adapter counts as skinny: bounded by reading its other factor once.
inline constexpr int skinny_limit = 64;
/// Parts of a sum over tokens that are formed side by side, then added up in order.
inline constexpr int token_splits = 64;

constexpr std::size_t arena_bytes(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

/// Rows of a weight's copy are padded with zeros: to whole 16-byte pieces, or if it is skinny to whole fragments of
/// 16 elements.
constexpr std::ptrdiff_t weight_copy_stride(int cols) {
  const std::ptrdiff_t unit = cols <= skinny_limit ? 16 : 8;
  return (cols + unit - 1) / unit * unit;
}
/// A copy of a weight as T, straight or transposed.
template <class T>
std::size_t weight_copy_bytes(const Weight& w) {
  return arena_bytes(
      static_cast<std::size_t>(std::max(w.rows * weight_copy_stride(w.cols), w.cols * weight_copy_stride(w.rows))) *
      sizeof(T));
}

}  // namespace lamina::kernel::cuda

/// cuBLASLt, with own kernels for a few rows (decode) and for adapters. Sums are fp32, fp32 factors are not rounded,
/// and results are the same from run to run. A weight of another element type than T is first copied as T into scratch.
///
/// workspace_bytes   what a call takes of its stream's scratch at most, whatever the device
template <>
struct lamina::kernel::matmul<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const MatmulFwd<T>& a);
  template <class T>
  static void backward_input(Stream<Cuda> s, const MatmulBwdInput<T>& a);
  template <class T>
  static void backward_weight(Stream<Cuda> s, const MatmulBwdWeight<T>& a);

  template <class T>
  static std::size_t workspace_bytes(const MatmulFwd<T>& a) {
    return product_bytes<T>(a.w) + (a.bias ? cuda::arena_bytes(a.w.rows * sizeof(T)) : 0);
  }
  template <class T>
  static std::size_t workspace_bytes(const MatmulBwdInput<T>& a) {
    return product_bytes<T>(a.w);
  }
  template <class T>
  static std::size_t workspace_bytes(const MatmulBwdWeight<T>& a) {
    return a.db ? cuda::arena_bytes(cuda::token_splits * sizeof(float) * a.dy.cols) : 0;
  }

 private:
  template <class T>
  static std::size_t product_bytes(const Weight& w) {
    const bool copied = w.dtype != dtype_of<T> || std::min(w.rows, w.cols) <= cuda::skinny_limit;
    return copied ? cuda::weight_copy_bytes<T>(w) : 0;
  }
};
