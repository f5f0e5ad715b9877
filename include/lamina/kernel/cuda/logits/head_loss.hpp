#pragma once
#include <lamina/kernel/cuda/matmul/matmul.hpp>
#include <lamina/kernel/logits/head_loss.hpp>

/// Rows are taken in chunks whose logits fit about 640 MB, so memory does not grow with the batch; within a chunk the
/// logits become their own gradient in place. Logits and dz are rounded to T, as transformers keeps them; the softmax
/// is fp32. With f16, dz is held times a power of two that brings the largest weight near 2^14, so that it does not
/// underflow.
///
/// target    is read on the device and not checked: one outside the vocabulary reads and writes outside the logits, so
///           the code that uploads targets checks them
template <>
struct lamina::kernel::head_loss<lamina::Cuda> {
  template <class T>
  static void run(Stream<Cuda> s, const HeadLoss<T>& a);

  /// What a call takes of its stream's scratch at most.
  template <class T>
  static std::size_t workspace_bytes(const HeadLoss<T>& a) {
    const auto rows = static_cast<std::size_t>(chunk_rows<T>(a.x.rows, a.w.rows));
    return cuda::arena_bytes(rows * logits_stride(a.w.rows) * sizeof(T)) +
           cuda::arena_bytes(scale_count * sizeof(float)) +
           (a.w.dtype == dtype_of<T> ? 0 : cuda::weight_copy_bytes<T>(a.w));
  }
  static constexpr int scale_count = 5;  ///< floats: alpha, beta of dx, alpha, beta of dw, and the scale of dz

  /// Rows of one chunk of logits: at least 1024, for the products' sake; chunks of one call are about equal.
  template <class T>
  static int chunk_rows(int rows, int vocab) {
    constexpr std::int64_t budget_bytes = 640'000'000;
    const std::int64_t fit = budget_bytes / (logits_stride(vocab) * static_cast<std::int64_t>(sizeof(T))) / 256 * 256;
    const int most = static_cast<int>(std::clamp<std::int64_t>(fit, 1024, 1 << 16));
    const int chunks = std::max(1, (rows + most - 1) / most);
    return std::min(rows, ((rows + chunks - 1) / chunks + 127) / 128 * 128);
  }
  /// Rows of logits start at multiples of 128 bytes: the fast products want it.
  static constexpr std::ptrdiff_t logits_stride(int vocab) {
    return (static_cast<std::ptrdiff_t>(vocab) + 63) / 64 * 64;
  }
};
