#pragma once
#include <lamina/kernel/cuda/attention/fwd.cuh>
#include <lamina/kernel/cuda/attention/scratch.hpp>

/// Forward attention of few queries against many keys, as in decoding: bound by reading K and V once.
///
/// The query heads of a group and the queries of a sequence are the 16 rows of one mma. A sequence's keys are split
/// over blocks, and over the four warps of a block, each of which streams its own. A block with company leaves its
/// rows' partial results in scratch; the last to arrive adds all up, in the order of their keys. How many take part
/// follows from cu_k on the device; the grid follows from sizes that the host knows, so that a CUDA graph may be
/// replayed while the cache grows.
namespace lamina::kernel::cuda {

template <int Width>
struct AttentionDecodeTiles {
  static constexpr int rows = 16, warp_keys = 16, warps = 4, keys = warps * warp_keys, threads = warps * warp_size;
  static constexpr int stages = 2;
  using Tile = SharedTile<Width>;
  static constexpr int query_bytes = Tile::bytes(rows), key_bytes = Tile::bytes(warp_keys);
  static constexpr int warp_bytes = stages * 2 * key_bytes, shared_bytes = query_bytes + warps * warp_bytes;
};

/// Blocks of a group that have left their partial results; the last one sets the counter back to 0. They outlast a
/// launch because a replay of a graph would not clear counters in scratch without a launch for it.
static __device__ unsigned attention_decode_arrivals[AttentionDecodePlan::most_groups];

/// Partial results, in shared memory or left by other blocks: row by row o, reference, sum.
template <bool OtherBlocks>
struct AttentionParts {
  const float* first;
  int part_floats, row_floats;
  __device__ const float* row(int part, int row) const {
    return first + std::ptrdiff_t{part} * part_floats + row * row_floats;
  }
  __device__ float operator()(int part, int r, int at) const {
    return OtherBlocks ? __ldcg(row(part, r) + at) : row(part, r)[at];
  }
  __device__ float4 four(int part, int r, int at) const {
    const auto* from = reinterpret_cast<const float4*>(row(part, r) + at);
    return OtherBlocks ? __ldcg(from) : *from;
  }
};

/// Adds partial results up, in their order: take(row, column, four of o, reference, sum) for each of `rows` rows.
/// weights is shared memory for rows * count floats.
template <int Threads, class Parts, class Take>
__device__ void merge_parts(int count, int rows, int head_dim, float* weights, Parts part, Take take) {
  __shared__ float reference[AttentionDecodePlan::part_rows], sum[AttentionDecodePlan::part_rows];
  for (int row = threadIdx.x / warp_size; row < rows; row += Threads / warp_size) {
    float top = -INFINITY, total = 0;
    for (int i = lane_id(); i < count; i += warp_size) top = fmaxf(top, part(i, row, head_dim));
    top = warp_max(top);
    for (int i = lane_id(); i < count; i += warp_size) {
      const float weight = top == -INFINITY ? 0.0f : fast_exp2(part(i, row, head_dim) - top);
      total += weight * part(i, row, head_dim + 1);
      weights[row * count + i] = weight;
    }
    total = warp_sum(total);
    if (lane_id() == 0) reference[row] = top, sum[row] = total;
  }
  __syncthreads();
  for (int at = threadIdx.x; at < rows * (head_dim / 4); at += Threads) {
    const int row = at / (head_dim / 4), column = at % (head_dim / 4) * 4;
    float4 o = make_float4(0, 0, 0, 0);
#pragma unroll 16
    for (int i = 0; i < count; ++i) {
      const float weight = weights[row * count + i];
      const float4 x = part.four(i, row, column);
      o.x += weight * x.x, o.y += weight * x.y, o.z += weight * x.z, o.w += weight * x.w;
    }
    take(row, column, o, reference[row], sum[row]);
  }
}

/// The same for any number of parts without shared memory: each thread weighs the parts of its row itself.
template <int Threads, class Parts, class Take>
__device__ void merge_few(int count, int rows, int head_dim, Parts part, Take take) {
  for (int at = threadIdx.x; at < rows * (head_dim / 4); at += Threads) {
    const int row = at / (head_dim / 4), column = at % (head_dim / 4) * 4;
    float top = -INFINITY, sum = 0;
    for (int i = 0; i < count; ++i) top = fmaxf(top, part(i, row, head_dim));
    float4 o = make_float4(0, 0, 0, 0);
#pragma unroll 4
    for (int i = 0; i < count; ++i) {
      const float reference = part(i, row, head_dim);
      const float weight = reference == -INFINITY ? 0.0f : fast_exp2(reference - top);
      const float4 x = part.four(i, row, column);
      sum += weight * part(i, row, head_dim + 1);
      o.x += weight * x.x, o.y += weight * x.y, o.z += weight * x.z, o.w += weight * x.w;
    }
    take(row, column, o, top, sum);
  }
}

/// grid: groups * splits
template <class T, int Width>
__global__ void __launch_bounds__(AttentionDecodeTiles<Width>::threads, 2)
    attention_decode(AttentionFwd<T> a, AttentionDecodePlan plan) {
  using Tiles = AttentionDecodeTiles<Width>;
  using Tile = typename Tiles::Tile;
  extern __shared__ __align__(1024) unsigned char shared[];
  const auto [heads, kv_heads, head_dim, scale, causal] = a.shape;
  const int group_heads = heads / kv_heads, group = blockIdx.x / plan.splits, split = blockIdx.x % plan.splits;
  const int kv_head = group % kv_heads, warp = threadIdx.x / warp_size;
  const auto [b, tile] = detail::in_order(a.cu_q, a.sequences, Tiles::rows, group / kv_heads, group_heads);
  if (b < 0) return;
  const int q0 = a.cu_q[b], queries = a.cu_q[b + 1] - q0, k0 = a.cu_k[b], keys = a.cu_k[b + 1] - k0;
  const int first = tile * Tiles::rows, rows = min(Tiles::rows, queries * group_heads - first);
  const auto query_of = [&](int row) { return (first + row) / group_heads; };
  const auto head_of = [&](int row) { return kv_head * group_heads + (first + row) % group_heads; };
  const auto visible = [&](int row) { return causal ? min(keys, query_of(row) + 1 + keys - queries) : keys; };

  const int steps = ceil_div(max(0, visible(rows - 1)), Tiles::keys), each = max(1, ceil_div(steps, plan.splits));
  const int active = max(1, ceil_div(steps, each));
  if (split >= active) return;
  const int my_first = split * each, my_steps = min(each, steps - my_first);

  const unsigned q_tile = shared_address(shared), ring = q_tile + Tiles::query_bytes + warp * Tiles::warp_bytes;
  const auto k_tile = [&](int i) { return ring + i % Tiles::stages * (2 * Tiles::key_bytes); };
  const auto first_key = [&](int i) { return (my_first + i) * Tiles::keys + warp * Tiles::warp_keys; };
  const HeadRows<const T> k(a.k, k0, kv_head, head_dim), v(a.v, k0, kv_head, head_dim);
  const auto copy_keys = [&](int i) {  // its own copies are all that a warp waits for
    if (i < my_steps) {
      copy_tile<Width, Tiles::warp_keys, warp_size>(k_tile(i), k, first_key(i), keys, head_dim, lane_id());
      copy_tile<Width, Tiles::warp_keys, warp_size>(k_tile(i) + Tiles::key_bytes, v, first_key(i), keys, head_dim,
                                                    lane_id());
    }
    commit_copies();
  };
  for (int i = threadIdx.x; i < Tiles::rows * (Width / 8); i += Tiles::threads) {
    const int row = i / (Width / 8), chunk = i % (Width / 8);
    const bool wanted = row < rows && chunk * 8 < head_dim;
    copy_async(Tile::at(q_tile, row, chunk),
               wanted ? a.q.row(q0 + query_of(row)) + head_of(row) * head_dim + chunk * 8 : a.q.data, wanted);
  }
  commit_copies();
  for (int i = 0; i < Tiles::stages - 1; ++i) copy_keys(i);
  wait_copies<Tiles::stages - 1>();
  __syncthreads();

  float o[1][Width / 8][4];
  clear(o);
  RunningSoftmax<1> softmax;
  for (int i = 0; i < my_steps; ++i) {
    wait_copies<Tiles::stages - 2>();
    __syncwarp();  // step i is here, and no lane reads step i - 1 any more
    copy_keys(i + Tiles::stages - 1);
    float s[1][Tiles::warp_keys / 8][4];
    clear(s);
    multiply<T, Width / 16>(s, operand_a<Width>(q_tile, 0), operand_b<Width>(k_tile(i), 0));
    if (first_key(i) + Tiles::warp_keys > visible(0)) mask_scores(s, first_key(i), visible);
    if (softmax.update(s, scale * log2_e)) softmax.rescale(o);
    multiply<T, 1>(o, RegisterOperand<T, 1, Tiles::warp_keys / 8>{s},
                   operand_b_transposed<Width>(k_tile(i) + Tiles::key_bytes, 0, 0));
  }
  softmax.finish();

  wait_copies<0>();
  __syncthreads();  // the warps' partial results take the place of what they read
  const int row_floats = AttentionDecodePlan::row_floats(head_dim), part_floats = Tiles::rows * row_floats;
  float* const warp_parts = reinterpret_cast<float*>(shared);
  float* const weights = warp_parts + Tiles::warps * part_floats;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float* part = warp_parts + warp * part_floats + (half * 8 + lane_id() / 4) * row_floats;
    if (lane_id() % 4 == 0) part[head_dim] = softmax.reference[0][half], part[head_dim + 1] = softmax.sum[0][half];
#pragma unroll
    for (int n = 0; n < Width / 8; ++n) {
      const int column = n * 8 + lane_id() % 4 * 2;
      if (column < head_dim)
        *reinterpret_cast<float2*>(part + column) = make_float2(o[0][n][2 * half], o[0][n][2 * half + 1]);
    }
  }
  __syncthreads();
  const auto finish = [&](int row, int column, float4 x, float reference, float sum) {
    const float inverse = sum > 0 ? 1 / sum : 0.0f;
    *reinterpret_cast<uint2*>(a.o.row(q0 + query_of(row)) + head_of(row) * head_dim + column) =
        make_uint2(pack<T>(x.x * inverse, x.y * inverse), pack<T>(x.z * inverse, x.w * inverse));
    if (a.lse && column == 0)
      a.lse[std::ptrdiff_t{q0 + query_of(row)} * heads + head_of(row)] = reference * ln_2 + logf(sum);
  };
  float* const parts = plan.parts + std::ptrdiff_t{group} * plan.splits * part_floats;
  const auto leave = [&](int row, int column, float4 x, float reference, float sum) {
    float* part = parts + split * part_floats + row * row_floats;
    if (column == 0) part[head_dim] = reference, part[head_dim + 1] = sum;
    *reinterpret_cast<float4*>(part + column) = x;
  };
  const AttentionParts<false> of_warps{warp_parts, part_floats, row_floats};
  if (active == 1) return merge_parts<Tiles::threads>(Tiles::warps, rows, head_dim, weights, of_warps, finish);
  merge_parts<Tiles::threads>(Tiles::warps, rows, head_dim, weights, of_warps, leave);

  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(&attention_decode_arrivals[group], 1u) + 1 == active;
    if (last) attention_decode_arrivals[group] = 0;
    __threadfence();
  }
  __syncthreads();
  const AttentionParts<true> of_blocks{parts, part_floats, row_floats};
  if (last) merge_parts<Tiles::threads>(active, rows, head_dim, warp_parts, of_blocks, finish);
}

/// Whether the queries are so few that reading keys is all the work.
template <class T>
bool few_queries(const AttentionFwd<T>& a) {
  return a.q.rows <= std::max(16, 4 * a.sequences);
}

template <class T>
void attention_forward_decode(Stream<Cuda> s, const AttentionFwd<T>& a) {
  const int row_tiles =
      tile_bound(a.q.rows * (a.shape.heads / a.shape.kv_heads), a.sequences, AttentionDecodePlan::part_rows);
  AttentionDecodePlan plan{};
  plan.groups = row_tiles * a.shape.kv_heads;
  const int blocks = std::min(2 * s.device->multiprocessors(), AttentionDecodePlan::most_blocks);
  const int steps = std::max(1, ceil_div(a.k.rows, AttentionDecodeTiles<64>::keys));
  plan.splits = plan.groups > AttentionDecodePlan::most_groups ? 1 : std::clamp(blocks / plan.groups, 1, steps);
  Arena::Scope scope(*s.scratch);
  if (plan.splits > 1)
    plan.parts =
        s.scratch->take<float>(AttentionDecodePlan::floats(std::size_t(plan.groups) * plan.splits, a.shape.head_dim));
  with_tile_width(a.shape.head_dim, [&]<int Width>() {
    using Tiles = AttentionDecodeTiles<Width>;
    allow_shared(attention_decode<T, Width>, Tiles::shared_bytes);
    attention_decode<T, Width><<<plan.groups * plan.splits, Tiles::threads, Tiles::shared_bytes, s.handle>>>(a, plan);
    check_launch("attention_decode");
  });
}

}  // namespace lamina::kernel::cuda
