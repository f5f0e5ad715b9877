#pragma once
#include <algorithm>

#include <lamina/kernel/attention/attention.hpp>
#include <lamina/kernel/cuda/attention/cudnn/attention.hpp>
#include <lamina/kernel/cuda/attention/scratch.hpp>
#include <lamina/kernel/cuda/device/device.hpp>

/// Attention on the GPU: through cuDNN if it has an engine, else, or if results must repeat bit for bit, bf16 and
/// f16 on tensor cores (head_dim a multiple of 8 up to 128; rows that start at multiples of 16 bytes), fp32 without.
/// Defined in kernel/cuda/attention/attention.cuh.
namespace lamina::kernel::cuda {

/// This library's own kernels.
template <class T>
void attention_forward_own(Stream<Cuda> s, const AttentionFwd<T>& a);
template <class T>
void attention_backward_own(Stream<Cuda> s, const AttentionBwd<T>& a);

}  // namespace lamina::kernel::cuda

template <>
struct lamina::kernel::attention<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const AttentionFwd<T>& a);
  template <class T>
  static void backward(Stream<Cuda> s, const AttentionBwd<T>& a);

  template <class T>
  static std::size_t workspace_bytes(const AttentionFwd<T>& a) {
    return cudnn_attention_bytes(a);
  }
  template <class T>
  static std::size_t workspace_bytes(const AttentionBwd<T>& a) {
    const std::size_t own = cuda::attention_workspace_bytes(a.shape, a.q.rows);
    return cuda::backward_by_cudnn(a) ? std::max(own, cudnn_attention_bytes(a)) : own;
  }
};
