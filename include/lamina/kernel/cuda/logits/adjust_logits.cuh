#pragma once
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/cuda/logits/adjust_logits.hpp>

namespace lamina::kernel::cuda {

inline constexpr int adjust_threads = 256, adjust_ids = 8192;  ///< that a block adjusts

/// A block takes neighbouring ids of a row, a thread Each of them at a time. The few that have an offset are computed
/// once more, from the logits.
template <int Each, class T>
__global__ void __launch_bounds__(adjust_threads) adjust_logits_fwd(AdjustLogits<T> a) {
  const int r = blockIdx.y, begin = blockIdx.x * adjust_ids, end = min(begin + adjust_ids, a.adjusted.cols);
  const LogitRule rule = a.rules[r];
  const T* from = a.logits.row(rule.row);
  float* to = a.adjusted.row(r);
  for (int id = begin + threadIdx.x * Each; id < end; id += adjust_threads * Each) {
    float x[Each];
    load_elements<Each>(from + id, x);
#pragma unroll
    for (int e = 0; e < Each; ++e) x[e] = a.value(rule, x[e], id + e, {});
    store_elements<Each>(to + id, x);
  }
  if (rule.offsets == 0) return;
  __syncthreads();
  for (int n = threadIdx.x; n < rule.offsets; n += adjust_threads) {
    const LogitOffset offset = a.offsets[rule.first_offset + n];
    if (offset.id >= begin && offset.id < end) to[offset.id] = a.value(rule, widen(from[offset.id]), offset.id, offset);
  }
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::adjust_logits<lamina::Cuda>::forward(Stream<Cuda> s, const AdjustLogits<T>& a) {
  if (a.adjusted.rows == 0) return;
  constexpr int each = 8;
  const dim3 blocks(static_cast<unsigned>(cuda::ceil_div(a.adjusted.cols, cuda::adjust_ids)),
                    static_cast<unsigned>(a.adjusted.rows));
  const bool whole = cuda::in_pieces<each>(a.logits) && cuda::in_pieces<each>(a.adjusted);
  // an ordinary launch, as that of sample.cuh
  if (whole)
    cuda::adjust_logits_fwd<each, T><<<blocks, cuda::adjust_threads, 0, s.handle>>>(a);
  else
    cuda::adjust_logits_fwd<1, T><<<blocks, cuda::adjust_threads, 0, s.handle>>>(a);
  cuda::check_launch("adjust_logits_fwd");
}
