#pragma once
#include <lamina/kernel/cuda/attention.hpp>
#include <lamina/kernel/cuda/attention_bwd.cuh>
#include <lamina/kernel/cuda/attention_decode.cuh>
#include <lamina/kernel/cuda/attention_f32.cuh>
#include <lamina/kernel/cuda/cudnn_attention.cuh>

namespace lamina::kernel::cuda {

template <class T>
void attention_forward_own(Stream<Cuda> s, const AttentionFwd<T>& a) {
  expect_attention(a.shape);
  if (a.q.rows == 0 || a.sequences == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    attention_forward_f32(s, a);
  } else {
    expect_chunks("q", a.q, a.shape);
    expect_chunks("k", a.k, a.shape);
    expect_chunks("v", a.v, a.shape);
    expect_chunks("o", a.o, a.shape);
    few_queries(a) ? attention_forward_decode(s, a) : attention_forward_tiles(s, a);
  }
}

template <class T>
void attention_backward_own(Stream<Cuda> s, const AttentionBwd<T>& a) {
  expect_attention(a.shape);
  if (a.q.rows == 0 || a.sequences == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    attention_backward_f32(s, a);
  } else {
    expect_chunks("q", a.q, a.shape);
    expect_chunks("k", a.k, a.shape);
    expect_chunks("v", a.v, a.shape);
    expect_chunks("o", a.o, a.shape);
    expect_chunks("dout", a.dout, a.shape);
    expect_chunks("dq", a.dq, a.shape);
    expect_chunks("dk", a.dk, a.shape);
    expect_chunks("dv", a.dv, a.shape);
    attention_backward_tiles(s, a);
  }
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::attention<lamina::Cuda>::forward(Stream<Cuda> s, const AttentionFwd<T>& a) {
  if constexpr (!std::is_same_v<T, float>)
    if (cudnn_attention_forward(s, a)) return;
  cuda::attention_forward_own(s, a);
}
template <class T>
void lamina::kernel::attention<lamina::Cuda>::backward(Stream<Cuda> s, const AttentionBwd<T>& a) {
  if constexpr (!std::is_same_v<T, float>)
    if (cudnn_attention_backward(s, a)) return;
  cuda::attention_backward_own(s, a);
}

#define LAMINA_CUDA_ATTENTION(prefix, T)                                                       \
  prefix void lamina::kernel::attention<lamina::Cuda>::forward<T>(lamina::Stream<lamina::Cuda>, \
                                                                  const lamina::kernel::AttentionFwd<T>&); \
  prefix void lamina::kernel::attention<lamina::Cuda>::backward<T>(lamina::Stream<lamina::Cuda>, \
                                                                   const lamina::kernel::AttentionBwd<T>&)
