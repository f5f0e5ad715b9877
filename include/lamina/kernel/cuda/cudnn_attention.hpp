#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

#include <lamina/kernel/attention.hpp>

/// Attention of training through cuDNN's fused engines: packed sequences that attend to themselves, bf16 or f16, head
/// widths that are a multiple of 8 (backward: 16) up to 256, sm_90 and newer.
///
/// layout   whatever the graph says, backward's engines step through dq as through q, through dk as through k and
///          through dv as through v (cuDNN 9.14; of 9.19 dq and q alone): a gradient that lies otherwise is computed
///          without gaps, and copied
/// numerics backward is not repeatable: it adds to dq in the order in which blocks finish (CudaDevice::deterministic
///          turns it off); forward is
/// source   NVIDIA cuDNN, "Attention" in the graph API's guide; Transformer Engine's buckets of sequences
namespace lamina::kernel {

/// Whether cuDNN did the work. Where it cannot (no library, a shape without an engine) it says so once on stderr and
/// nothing was written: the caller's own kernel takes over. A first call with new sizes builds a plan, which takes
/// about a second and may not happen while a CUDA graph is captured.
template <class T>
bool cudnn_attention_forward(Stream<Cuda> s, const AttentionFwd<T>& a);
template <class T>
bool cudnn_attention_backward(Stream<Cuda> s, const AttentionBwd<T>& a);

namespace cuda {
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

/// Where the sequences start, as cuDNN wants it: for each tensor, elements before each sequence, and before the end.
struct CudnnRagged {
  static constexpr int forward_tensors = 5, backward_tensors = 9;
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
constexpr std::size_t cudnn_common_bytes(int sequences, int tensors) {
  const std::size_t pitch = static_cast<std::size_t>(CudnnRagged::pitch(sequences));
  return cudnn_rounded(8 * pitch * static_cast<std::size_t>(tensors)) + cudnn_rounded(4 * pitch) +
         cudnn_engine_bytes(sequences);
}
}  // namespace cuda

/// Bytes of scratch that a call takes.
template <class T>
std::size_t cudnn_attention_bytes(const AttentionFwd<T>& a) {
  return cuda::cudnn_common_bytes(a.sequences, cuda::CudnnRagged::forward_tensors);
}
/// How far apart backward's rows are for cuDNN: q's and dq's alike, k's and dk's, v's and dv's.
struct CudnnBackwardStrides {
  std::ptrdiff_t q, k, v;

  template <class T>
  explicit CudnnBackwardStrides(const AttentionBwd<T>& a) : q(of(a.q, a.dq)), k(of(a.k, a.dk)), v(of(a.v, a.dv)) {}

 private:
  template <class T>
  static std::ptrdiff_t of(const Matrix<const T>& x, const Matrix<T>& dx) {
    return x.stride == dx.stride ? x.stride : x.cols;
  }
};
/// Backward's sums before they are rounded: dq, which lies as dq does; D; where query heads share keys, dk and dv of
/// every query head, with the strides of dk and dv times H / K. Room is made for fp32, as NVIDIA's frontend does,
/// though the graph declares dk and dv of every head in T.
struct CudnnBackwardSums {
  std::size_t dq = 0, delta = 0, dk_heads = 0, dv_heads = 0;  ///< elements

  template <class T>
  explicit CudnnBackwardSums(const AttentionBwd<T>& a) {
    const auto elements = [&](std::ptrdiff_t columns) {
      return static_cast<std::size_t>(a.q.rows) * static_cast<std::size_t>(columns);
    };
    const CudnnBackwardStrides strides(a);
    const std::ptrdiff_t heads = a.shape.heads, kv_heads = a.shape.kv_heads;
    dq = elements(strides.q);
    delta = elements(heads);
    if (heads == kv_heads) return;
    dk_heads = elements(strides.k * (heads / kv_heads));
    dv_heads = elements(strides.v * (heads / kv_heads));
  }
};
template <class T>
std::size_t cudnn_attention_bytes(const AttentionBwd<T>& a) {
  const CudnnBackwardSums sums(a);
  std::size_t bytes = cuda::cudnn_common_bytes(a.sequences, cuda::CudnnRagged::backward_tensors);
  for (const std::size_t n : {sums.dq, sums.delta, sums.dk_heads, sums.dv_heads})
    bytes += cuda::cudnn_rounded(sizeof(float) * n);
  const auto alike = [&](const Matrix<const T>& x, const Matrix<T>& dx) {  // CudnnAlike: at most both, without gaps
    const std::size_t elements = static_cast<std::size_t>(x.rows) * static_cast<std::size_t>(x.cols);
    if (x.stride != dx.stride) bytes += 2 * cuda::cudnn_rounded(sizeof(T) * elements);
  };
  alike(a.q, a.dq), alike(a.k, a.dk), alike(a.v, a.dv);
  return bytes;
}

}  // namespace lamina::kernel
