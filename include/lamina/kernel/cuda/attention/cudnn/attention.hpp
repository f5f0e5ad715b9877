#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

#include <lamina/kernel/attention/attention.hpp>

/// Attention of training through cuDNN's fused engines: packed sequences that attend to themselves, bf16 or f16, head
/// widths that are a multiple of 8 up to 256, sm_90 and newer. Backward takes sequences of one length, and widths that
/// are a multiple of 16: with others its engines are no faster than this library's.
///
/// layout   whatever the graph says, backward's engines step through dq as through q and, before cuDNN 9.19, through
///          dk as through k and dv as through v: tensors whose strides differ from their gradient's are copied. Fastest
///          if rows have no gaps
/// numerics backward is not repeatable: it adds to dq in the order in which blocks finish (CudaDevice::deterministic
///          turns it off); forward is
/// source   NVIDIA cuDNN, "Attention" in the graph API's guide; Transformer Engine's buckets of sequences
namespace lamina::kernel {

/// Whether cuDNN did the work. Where it cannot (no library, a shape without an engine) it logs it once and
/// nothing was written: the caller's own kernel takes over. A first call with new sizes builds a plan, which takes
/// about a second and may not happen while a CUDA graph is captured.
template <class T>
bool cudnn_attention_forward(Stream<Cuda> s, const AttentionFwd<T>& a);
template <class T>
bool cudnn_attention_backward(Stream<Cuda> s, const AttentionBwd<T>& a);

namespace cuda {
/// Tokens of a sequence from which cuDNN's backward is faster than this library's (cuda_cudnn_attention_bench.cu and
/// bench_gpu_step on an H100: 11 % at 2048, behind at 600 and 64).
inline constexpr int cudnn_backward_pays = 1024;

/// Whether so many packed rows are sequences of one length, more than one. longest: 0 if it is not known.
constexpr bool cudnn_equal_lengths(int rows, int sequences, int longest) {
  return sequences > 1 && std::int64_t{longest} * sequences == rows;
}
template <class T>
bool backward_by_cudnn(const AttentionBwd<T>& a) {
  return a.longest >= cudnn_backward_pays && cudnn_equal_lengths(a.q.rows, a.sequences, a.longest);
}
/// Sequences of a plan: 32, powers of two to 512, then multiples of 512. Those that a batch lacks are empty.
constexpr int cudnn_sequences(int n) {
  if (n <= 32) return 32;
  return n <= 512 ? static_cast<int>(std::bit_ceil(static_cast<unsigned>(n))) : (n + 511) / 512 * 512;
}
/// Longest sequence of a plan: powers of two from 128 to 32 Ki, then multiples of 32 Ki.
constexpr int cudnn_length(int n) {
  constexpr int step = 32 << 10;
  if (n <= 128) return 128;
  return n <= step ? static_cast<int>(std::bit_ceil(static_cast<unsigned>(n))) : (n + step - 1) / step * step;
}

/// Forward's tables of the sequences' starts: for each tensor, elements before each sequence, and before the end.
struct CudnnRagged {
  static constexpr int tensors = 5;
  /// int64 values a tensor, so that each tensor's begin 16-byte aligned.
  static constexpr int pitch(int sequences) { return cudnn_sequences(sequences) + 2; }
};

constexpr std::size_t cudnn_rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }
/// What an engine may ask for beyond the graph's own tensors. cuDNN 9.19's take 448 bytes a sequence (descriptors of
/// TMA copies) and 1.1 KiB; a plan that wants more than this is refused.
constexpr std::size_t cudnn_engine_bytes(int sequences) {
  return cudnn_rounded((std::size_t{64} << 10) +
                       std::size_t{1024} * static_cast<std::size_t>(cudnn_sequences(sequences)));
}
}  // namespace cuda

/// Bytes of scratch that a call takes.
template <class T>
std::size_t cudnn_attention_bytes(const AttentionFwd<T>& a) {
  const auto pitch = static_cast<std::size_t>(cuda::CudnnRagged::pitch(a.sequences));
  return cuda::cudnn_rounded(8 * pitch * cuda::CudnnRagged::tensors) + cuda::cudnn_rounded(4 * pitch) +
         cuda::cudnn_engine_bytes(a.sequences);
}
/// Backward's sums before they are rounded: dq; D; if query heads share keys, dk and dv of every query head. Room is
/// made for fp32, as NVIDIA's frontend does, though the graph declares dk and dv of every head in T.
struct CudnnBackwardSums {
  std::size_t dq = 0, delta = 0, heads = 0;  ///< elements; heads: of dk, and of dv

  template <class T>
  explicit CudnnBackwardSums(const AttentionBwd<T>& a) {
    const auto elements = [&](std::ptrdiff_t columns) {
      return static_cast<std::size_t>(a.q.rows) * static_cast<std::size_t>(columns);
    };
    dq = elements(std::ptrdiff_t{a.shape.heads} * a.shape.head_dim);
    delta = elements(a.shape.heads);
    if (a.shape.heads != a.shape.kv_heads) heads = dq;
  }
};
template <class T>
std::size_t cudnn_attention_bytes(const AttentionBwd<T>& a) {
  const CudnnBackwardSums sums(a);
  std::size_t bytes = cuda::cudnn_engine_bytes(a.sequences);
  for (const std::size_t n : {sums.dq, sums.delta, sums.heads, sums.heads})
    bytes += cuda::cudnn_rounded(sizeof(float) * n);
  const auto copied = [&](const Matrix<const T>& x, const Matrix<T>& dx) {  // as before cuDNN 9.19
    if (x.stride == dx.stride) return;
    bytes += cuda::cudnn_rounded(sizeof(T) * static_cast<std::size_t>(dx.rows) * static_cast<std::size_t>(dx.stride));
  };
  copied(a.q, a.dq), copied(a.k, a.dk), copied(a.v, a.dv);
  return bytes;
}

}  // namespace lamina::kernel
