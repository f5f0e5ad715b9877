#pragma once
#include <lamina/kernel/cuda/attention/flash/fwd.cuh>
#include <lamina/kernel/cuda/device/wgmma.cuh>

/// Forward attention by wgmma. source: Shah et al. 2024, arXiv:2407.08608, section 3.2: a tile's softmax runs next to
/// the product of the tile before it with V.
namespace lamina::kernel::cuda {

/// A block owns 128 queries of one head, a warpgroup 64 of them.
template <int Width>
struct AttentionFwdSm90Tiles {
  static constexpr int queries = 128, keys = 128, threads = 2 * warpgroup_size;
  using Queries = PanelTile<queries, Width>;
  using Keys = PanelTile<keys, Width>;
  static constexpr int shared_bytes = Queries::bytes + 4 * Keys::bytes;
};

/// copy_tile for panels.
template <int Width, int Rows, int Threads, class T>
__device__ void copy_panels(const PanelTile<Rows, Width>& tile, RowsOfHead<const T> from, int first, int end,
                            int head_dim) {
#pragma unroll
  for (int p = 0; p < Width / 64; ++p, from.data += 64)
    copy_tile<64, Rows, Threads>(tile.panel(p), from, first, end, head_dim - 64 * p, threadIdx.x);
}

/// grid: tile_bound(q.rows, sequences, 128) * heads
template <class T, int Width>
__global__ void __launch_bounds__(AttentionFwdSm90Tiles<Width>::threads, 1) attention_fwd_sm90(AttentionFwd<T> a) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Tiles = AttentionFwdSm90Tiles<Width>;
  using Keys = typename Tiles::Keys;
  extern __shared__ __align__(1024) unsigned char shared[];
  const auto [heads, kv_heads, head_dim, scale, causal, window] = a.shape;
  const int head = blockIdx.x % heads, kv_head = head / (heads / kv_heads);
  const auto [b, tile] = costly_first(a.cu_q, a.sequences, Tiles::queries, blockIdx.x / heads);
  if (b < 0) return;
  const int q0 = a.cu_q[b], queries = a.cu_q[b + 1] - q0, k0 = a.cu_k[b], keys = a.cu_k[b + 1] - k0;
  const int first = tile * Tiles::queries, end = min(first + Tiles::queries, queries);
  const int warp = threadIdx.x / warp_size, group_row = warp / 4 * 64, warp_row = warp * 16;
  const int visible = causal ? first + 1 + keys - queries : keys;  // keys that query `first` sees
  const int first_tile = window > 0 ? max(0, visible - window) / Tiles::keys : 0;

  const typename Tiles::Queries q_tile{shared_address(shared)};
  const auto k_tile = [&](int t) { return Keys{q_tile.base + Tiles::Queries::bytes + t % 2 * Keys::bytes}; };
  const auto v_tile = [&](int t) { return Keys{k_tile(t).base + 2 * Keys::bytes}; };
  const RowsOfHead<const T> k(a.k, k0, kv_head, head_dim), v(a.v, k0, kv_head, head_dim);
  const auto copy_k = [&](int t) {
    if (t >= first_tile) copy_panels<Width, Tiles::keys, Tiles::threads>(k_tile(t), k, t * Tiles::keys, keys, head_dim);
    commit_copies();
  };
  const auto copy_v = [&](int t) {
    copy_panels<Width, Tiles::keys, Tiles::threads>(v_tile(t), v, t * Tiles::keys, keys, head_dim);
    commit_copies();
  };
  const int last_visible = causal ? min(keys, visible + end - 1 - first) : keys;
  const int tiles = last_visible > 0 ? ceil_div(last_visible, Tiles::keys) : 0;

  float o[1][Width / 8][4], s[1][Tiles::keys / 8][4];
  unsigned p[Tiles::keys / 16][4];
  clear(o);
  RunningSoftmax<1> softmax;
  const auto start_scores = [&](int t) {
    const Keys tile_t = k_tile(t);
#pragma unroll
    for (int step = 0; step < Width / 16; ++step)
      wgmma<T, false, false>(s, q_tile.along_rows(group_row, step), tile_t.along_rows(0, step), step > 0);
    wgmma_commit();
  };
  const auto start_outputs = [&](int t) {
    const Keys tile_t = v_tile(t);
#pragma unroll
    for (int step = 0; step < Tiles::keys / 16; ++step) wgmma<T, true>(o, p[step], tile_t.down_columns(0, step));
    wgmma_commit();
  };
  const int warp_visible = visible + (causal ? warp_row : 0), row_step = causal ? 1 : 0;
  const auto soften = [&](int t) {
    if ((t + 1) * Tiles::keys > min(keys, warp_visible))
      mask_scores(s, t * Tiles::keys, [&](int row) { return min(keys, warp_visible + row * row_step); });
    if (window > 0 && t * Tiles::keys < warp_visible + 15 - window)
      hide_scores(s, t * Tiles::keys, [&](int row) { return warp_visible + row - window; });
    return softmax.update(s, scale * log2_e);
  };
  const auto pack_scores = [&] {
#pragma unroll
    for (int step = 0; step < Tiles::keys / 16; ++step)
      RegisterOperand<T, 1, Tiles::keys / 8>{s}.load(p[step], 0, step);
  };

  copy_panels<Width, Tiles::queries, Tiles::threads>(q_tile, RowsOfHead<const T>(a.q, q0, head, head_dim), first,
                                                     queries, head_dim);
  commit_copies();  // waited for even if there are no keys: outputs take the place of queries
  if (tiles > 0) {
    int t = tiles - 1;
    copy_k(t);
    copy_k(t - 1);
    copy_v(t);
    wait_copies<2>();
    publish_to_wgmma();
    __syncthreads();
    wgmma_fence();
    start_scores(t);
    wgmma_wait<0>();
    soften(t);
    pack_scores();
    for (; t > first_tile; --t) {  // scores of tile t - 1 next to outputs of tile t
      wait_copies<0>();
      publish_to_wgmma();
      __syncthreads();  // keys t - 1 and values t are here; nobody reads keys t or values t + 1 any more
      wgmma_fence();
      start_scores(t - 1);
      start_outputs(t);
      copy_k(t - 2);
      copy_v(t - 1);
      wgmma_wait<1>();
      const bool grew = soften(t - 1);
      wgmma_wait<0>();
      if (grew) softmax.rescale(o);
      pack_scores();
    }
    wait_copies<0>();
    publish_to_wgmma();
    __syncthreads();
    wgmma_fence();
    start_outputs(first_tile);
    wgmma_wait<0>();
  }

  softmax.finish();
  wait_copies<0>();
  __syncthreads();
  unsigned char* const from = shared - q_tile.base;  // a warp's outputs go where its queries were
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + half * 8 + lane_id() / 4;
    const float inverse = softmax.inverse(0, half);
#pragma unroll
    for (int n = 0; n < Width / 8; ++n) {
      *reinterpret_cast<unsigned*>(from + (q_tile.at(row, n) + lane_id() % 4 * 4)) =
          pack<T>(o[0][n][2 * half] * inverse, o[0][n][2 * half + 1] * inverse);
    }
    if (a.lse && lane_id() % 4 == 0 && first + row < end)
      a.lse[std::ptrdiff_t{q0 + first + row} * heads + head] = softmax.lse(0, half);
  }
  __syncwarp();
  const RowsOfHead<T> out(a.o, q0, head, head_dim);
  for (int i = lane_id(); i < 16 * (Width / 8); i += warp_size) {
    const int row = warp_row + i / (Width / 8), chunk = i % (Width / 8);
    if (first + row < end && chunk * 8 < head_dim)
      *reinterpret_cast<uint4*>(out.row(first + row) + chunk * 8) =
          *reinterpret_cast<const uint4*>(from + q_tile.at(row, chunk));
  }
#endif
}

template <class T, int Width>
void launch_attention_fwd_sm90(Stream<Cuda> s, const AttentionFwd<T>& a) {
  using Tiles = AttentionFwdSm90Tiles<Width>;
  allow_shared(attention_fwd_sm90<T, Width>, Tiles::shared_bytes);
  const int blocks = tile_bound(a.q.rows, a.sequences, Tiles::queries) * a.shape.heads;
  attention_fwd_sm90<T, Width><<<blocks, Tiles::threads, Tiles::shared_bytes, s.handle>>>(a);
  check_launch("attention_fwd_sm90");
}

}  // namespace lamina::kernel::cuda
