#pragma once
#include <lamina/kernel/cuda/attention/attention.hpp>
#include <lamina/kernel/cuda/attention/cudnn/attention.cuh>
#include <lamina/kernel/cuda/attention/flash/bwd.cuh>
#include <lamina/kernel/cuda/attention/flash/bwd_sm90.cuh>
#include <lamina/kernel/cuda/attention/flash/f32.cuh>
#include <lamina/kernel/cuda/attention/flash/fwd_sm90.cuh>
#include <lamina/kernel/cuda/attention/scratch.hpp>

namespace lamina::kernel::cuda {

/// Whether attention's kernels by wgmma run here: they are compiled for sm_90a alone, and for heads that fill panels.
inline bool attention_by_wgmma(Stream<Cuda> s, int head_dim) {
  return s.device->compute_capability() == 90 && (head_dim <= 64 || head_dim > 80);
}
/// Forward takes it for wide heads alone: at 64 mma.sync is faster (bench/kernel/attention_bench.cu on an H100,
/// vision64: 306 to 314 TFLOP/s, compared with 276).
inline bool attention_forward_by_wgmma(Stream<Cuda> s, int head_dim) {
  return attention_by_wgmma(s, head_dim) && head_dim > 64;
}
template <class T>
void attention_backward_sm90(Stream<Cuda> s, const AttentionBwd<T>& a, const AttentionBwdSums& sums) {
  a.shape.head_dim <= 64 ? launch_attention_bwd_sm90<T, 64>(s, a, sums) : launch_attention_bwd_sm90<T, 128>(s, a, sums);
}

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
    attention_forward_by_wgmma(s, a.shape.head_dim) ? launch_attention_fwd_sm90<T, 128>(s, a)
                                                    : attention_forward_tiles(s, a);
  }
}

template <class T>
void attention_backward_own(Stream<Cuda> s, const AttentionBwd<T>& a) {
  expect_attention(a.shape);
  if (a.q.rows == 0 || a.sequences == 0) return;
  if constexpr (std::is_same_v<T, float>) {
    attention_backward_f32(s, a);
  } else if (a.cu_k) {
    attention_backward_f32(s, a);  // learned queries are few (Cross): tensor cores would save little
  } else {
    expect_chunks("q", a.q, a.shape);
    expect_chunks("k", a.k, a.shape);
    expect_chunks("v", a.v, a.shape);
    expect_chunks("o", a.o, a.shape);
    expect_chunks("dout", a.dout, a.shape);
    expect_chunks("dq", a.dq, a.shape);
    expect_chunks("dk", a.dk, a.shape);
    expect_chunks("dv", a.dv, a.shape);
    Arena::Scope scope(*s.scratch);
    const AttentionBwdSums sums = attention_bwd_sums(s, a);
    attention_by_wgmma(s, a.shape.head_dim) ? attention_backward_sm90(s, a, sums)
                                            : attention_backward_tiles(s, a, sums);
  }
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::attention<lamina::Cuda>::forward(Stream<Cuda> s, const AttentionFwd<T>& a) {
  if constexpr (!std::is_same_v<T, float>)
    if (a.shape.window == 0 && cudnn_attention_forward(s, a)) return;  // its graphs here have no window
  cuda::attention_forward_own(s, a);
}
template <class T>
void lamina::kernel::attention<lamina::Cuda>::backward(Stream<Cuda> s, const AttentionBwd<T>& a) {
  if constexpr (!std::is_same_v<T, float>)
    if (!a.cu_k && a.shape.window == 0 && cuda::backward_by_cudnn(a) && cudnn_attention_backward(s, a)) return;
  cuda::attention_backward_own(s, a);
}
