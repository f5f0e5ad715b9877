#pragma once
#include <lamina/kernel/cuda/attention/paged_attention.hpp>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>

/// Attention over pages in fp32 without tensor cores, for checking models in fp32: a block takes one head of one query,
/// a warp every fourth key, a lane every 32nd element of a head.
namespace lamina::kernel::cuda {

struct PagedF32 {
  static constexpr int warps = 4, threads = warps * warp_size, most_head_dim = 256, each = most_head_dim / warp_size;
};

/// The sequence that has query n.
__device__ inline int sequence_of(const int* cu_q, int sequences, int n) {
  int low = 0, high = sequences;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (cu_q[middle] <= n ? low : high) = middle;
  }
  return low;
}

static __global__ void __launch_bounds__(PagedF32::threads) paged_attention_fwd_f32(PagedAttentionFwd<float> a) {
  start_in_turn();
  __shared__ float top[PagedF32::warps], sums[PagedF32::warps], parts[PagedF32::warps][PagedF32::most_head_dim];
  const int n = blockIdx.x + a.cu_q[0], head = blockIdx.y, head_dim = a.shape.head_dim;
  if (n >= a.cu_q[a.sequences]) return;
  const int b = sequence_of(a.cu_q, a.sequences, n), kv_head = head / (a.shape.heads / a.shape.kv_heads);
  const int seen = a.cu_keys[b + 1] - a.cu_keys[b] - (a.cu_q[b + 1] - a.cu_q[b]) + n - a.cu_q[b] + 1;
  const int* const table = a.tables.of(b);
  const int warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size;
  float q[PagedF32::each], o[PagedF32::each] = {}, most = -INFINITY, sum = 0;
  for (int e = 0; e < PagedF32::each; ++e) {
    const int d = e * warp_size + lane;
    q[e] = d < head_dim ? a.q.row(n)[head * head_dim + d] : 0.0f;
  }
  const int hidden = a.shape.window > 0 ? max(0, seen - a.shape.window) : 0;
  for (int key = hidden + warp; key < seen; key += PagedF32::warps) {
    const int page = table[key / a.k.page_tokens], row = key % a.k.page_tokens;
    const float *k = a.k.row(page, kv_head, row, head_dim), *v = a.v.row(page, kv_head, row, head_dim);
    float dot = 0;
    for (int e = 0; e * warp_size + lane < head_dim; ++e) dot += q[e] * k[e * warp_size + lane];
    const float score = warp_sum(dot) * a.shape.scale, now = fmaxf(most, score);
    const float shrink = expf(most - now), p = expf(score - now);
    for (int e = 0; e * warp_size + lane < head_dim; ++e) o[e] = o[e] * shrink + p * v[e * warp_size + lane];
    sum = sum * shrink + p, most = now;
  }
  if (lane == 0) top[warp] = most, sums[warp] = sum;
  for (int e = 0; e * warp_size + lane < head_dim; ++e) parts[warp][e * warp_size + lane] = o[e];
  __syncthreads();
  float all = -INFINITY, total = 0;
  for (int w = 0; w < PagedF32::warps; ++w) all = fmaxf(all, top[w]);
  for (int w = 0; w < PagedF32::warps; ++w) total += sums[w] > 0 ? sums[w] * expf(top[w] - all) : 0.0f;
  for (int d = threadIdx.x; d < head_dim; d += PagedF32::threads) {
    float x = 0;
    for (int w = 0; w < PagedF32::warps; ++w) x += sums[w] > 0 ? parts[w][d] * expf(top[w] - all) : 0.0f;
    a.o.row(n)[head * head_dim + d] = total > 0 ? x / total : 0.0f;
  }
}

/// At most `queries` of them, from the first sequence's first one on.
inline void paged_attention_f32(Stream<Cuda> s, const PagedAttentionFwd<float>& a, int queries) {
  if (a.shape.head_dim > PagedF32::most_head_dim)
    fail("paged attention: heads of ", a.shape.head_dim, "; in fp32 the kernel takes ", PagedF32::most_head_dim);
  if (queries == 0) return;
  launch_dependent(s, paged_attention_fwd_f32, dim3(queries, a.shape.heads), PagedF32::threads, a);
  check_launch("paged_attention_fwd_f32");
}

}  // namespace lamina::kernel::cuda
