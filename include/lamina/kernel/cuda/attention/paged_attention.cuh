#pragma once
#include <lamina/kernel/cuda/attention/flash/fwd.cuh>
#include <lamina/kernel/cuda/attention/paged_attention.hpp>
#include <lamina/kernel/cuda/attention/paged_attention_f32.cuh>
#include <lamina/kernel/cuda/attention/paged_tiles.cuh>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/norm/norm_rope.cuh>

/// Attention of decoding: one query per sequence against pages of keys, bound by reading K and V once.
///
/// A block takes the splits of one worker for one key/value head. Each of its four warps streams its own tiles of 16
/// keys through a ring in shared memory, and the ring runs on into the next split while the results of one are joined:
/// reads never stop. The query heads of a group are the columns of one mma. A sequence of several splits leaves partial
/// results in scratch, and the last block to arrive joins them in the order of their keys. Sizes are read on the
/// device, so that a recorded launch follows sequences that grow.
namespace lamina::kernel::cuda {

inline constexpr int most_paged_sequences = 1024, most_paged_kv_heads = 16, most_paged_splits = 1024;

/// Blocks that have left partial results of (sequence, kv head); the last one sets the counter back to 0.
static __device__ unsigned paged_decode_arrivals[most_paged_sequences * most_paged_kv_heads];

/// The sum of the values of all lower threads of the block.
template <int Threads>
__device__ int sum_before(int value) {
  __shared__ int warps[Threads / warp_size];
  const int lane = lane_id(), warp = threadIdx.x / warp_size;
  int sum = value;
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, sum, offset);
    if (lane >= offset) sum += other;
  }
  __syncthreads();
  if (lane == warp_size - 1) warps[warp] = sum;
  __syncthreads();
  for (int w = 0; w < warp; ++w) sum += warps[w];
  return sum - value;
}

/// One block, one thread per sequence. All tiles of all sequences lie in a row; worker p's share begins at tile
/// ceil(p * tiles / workers).
template <int Threads>
__global__ void __launch_bounds__(Threads) split_keys_fwd(SplitKeys a) {
  start_in_turn();
  __shared__ int total;
  const int b = threadIdx.x;
  const bool mine = b < a.sequences;
  const int keys = mine ? a.cu_keys[b + 1] - a.cu_keys[b] : 0;
  const int tiles = mine ? max(1, ceil_div(keys, split_tile_keys)) : 0, begin = sum_before<Threads>(tiles);
  if (b == Threads - 1) total = begin + tiles;
  __syncthreads();
  const std::int64_t all = total, workers = min(a.to.workers, total);  // no worker without a tile among others
  const auto worker_of = [&](int tile) { return static_cast<int>(tile * workers / all); };
  const auto share_of = [&](int worker) { return static_cast<int>(ceil_div(worker * all, workers)); };
  const int fixed = a.to.fixed_tiles, first = worker_of(begin);
  const int count = !mine ? 0 : fixed > 0 ? ceil_div(tiles, fixed) : worker_of(begin + tiles - 1) - first + 1;
  const int index = sum_before<Threads>(count);
  const auto start = [&](int i) { return fixed > 0 ? begin + i * fixed : i == 0 ? begin : share_of(first + i); };
  int before = -1;  // the worker in whose share the split before this one begins
  if (mine && b > 0) {
    const int last = max(1, ceil_div(a.cu_keys[b] - a.cu_keys[b - 1], split_tile_keys));  // tiles of sequence b - 1
    const int from = fixed > 0 ? (last - 1) / fixed * fixed : 0;
    before = fixed > 0 ? worker_of(begin - last + from) : worker_of(begin - 1);
  }
  for (int i = 0; i < count; ++i) {
    const int from = start(i), to = i + 1 < count ? start(i + 1) : begin + tiles;
    for (int worker = before + 1; worker <= worker_of(from); ++worker) a.to.starts[worker] = index + i;
    before = worker_of(from);
    if (index + i < a.to.most)
      a.to.splits[index + i] = {.sequence = b,
                                .row = a.cu_q[b],
                                .first = (from - begin) * split_tile_keys,
                                .end = min(keys, (to - begin) * split_tile_keys),
                                .index = index,
                                .count = count,
                                .table = a.rows[b],
                                .place = i};
  }
  if (b == a.sequences - 1)
    for (int worker = before + 1; worker <= a.to.workers; ++worker) a.to.starts[worker] = index + count;
}

template <class T, int Width, int Stages>
__global__ void __launch_bounds__(PagedDecodeTiles<Width, Stages>::threads,
                                  PagedDecodeTiles<Width, Stages>::blocks_per_multiprocessor)
    paged_attention_decode(PagedAttentionFwd<T> a, float* parts) {
  using Tiles = PagedDecodeTiles<Width, Stages>;
  start_early(a.sequences);
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ bool last;
  const int kv_heads = a.shape.kv_heads, head_dim = a.shape.head_dim, group = a.shape.heads / kv_heads;
  const int warp = threadIdx.x / warp_size, row_floats = part_row_floats(head_dim);
  const int part_floats = group * row_floats, kv_head = blockIdx.x % kv_heads, worker = blockIdx.x / kv_heads;
  const unsigned ring = shared_address(shared) + warp * Tiles::warp_bytes;
  float* const warp_parts = reinterpret_cast<float*>(shared + Tiles::ring_bytes);

  TileCursor<Width, Stages> ahead(a.splits, worker);
  int written = 0, read = 0;  // tiles of this warp's ring
  const auto tile = [&](int i) { return ring + i % Tiles::stages * (2 * Tiles::key_bytes); };
  const auto copy_next = [&] {  // its own copies are all that a warp waits for
    if (!ahead.done()) {
      const int key = ahead.key, wanted = ahead.split.end - key;
      if (wanted > 0) {
        const int page = a.tables.entries[ahead.split.table * a.tables.stride + key / a.k.page_tokens];
        const int token = key % a.k.page_tokens;
        copy_page_rows<Width>(tile(written), a.k.row(page, kv_head, token, head_dim), wanted, head_dim);
        copy_page_rows<Width>(tile(written) + Tiles::key_bytes, a.v.row(page, kv_head, token, head_dim), wanted,
                              head_dim);
      }
      ++written;
      ahead.advance();
    }
    commit_copies();
  };
#pragma unroll
  for (int i = 0; i < Tiles::stages - 1; ++i) copy_next();

  for (int at = a.splits.starts[worker]; at < a.splits.starts[worker + 1]; ++at) {
    const KeySplit split = a.splits.splits[at];
    const int seen = a.cu_keys[split.sequence + 1] - a.cu_keys[split.sequence];
    const int hidden = a.shape.window > 0 ? seen - a.shape.window : 0;  // keys before the query's window
    const GroupQueries<Width> q(a.q.row(split.row) + kv_head * group * head_dim, group, head_dim);
    float o[Width / 16][4] = {};  // (head_dim, heads) as mma leaves it: 16 rows a block
    HeadSoftmax softmax;
    for (int key = split.first + warp * Tiles::warp_keys, i = 0; i == 0 || key - warp * Tiles::warp_keys < split.end;
         key += Tiles::keys, ++i, ++read) {
      wait_copies<Tiles::stages - 2>();
      __syncwarp();  // this tile is here, and no lane reads the one before it any more
      copy_next();
      if (key >= split.end || key + Tiles::warp_keys <= hidden) continue;
      const auto k = operand_a<Width>(tile(read), 0);
      const auto v = operand_a_transposed<Width>(tile(read) + Tiles::key_bytes, 0, 0);
      float s[4] = {};  // (keys, heads)
      unsigned f[4];
#pragma unroll
      for (int step = 0; step < Width / 16; ++step) {
        k.load(f, 0, step);
        mma<T>(s, f, q.fragments[step][0], q.fragments[step][1]);
      }
      const int left = split.end - key - lane_id() / 4;  // keys of this lane's column that are there
      if (left <= 0) s[0] = s[1] = -INFINITY;
      if (left <= 8) s[2] = s[3] = -INFINITY;
      const int before = hidden - key - lane_id() / 4;  // keys of this lane's column that the query does not see
      if (before > 0) s[0] = s[1] = -INFINITY;
      if (before > 8) s[2] = s[3] = -INFINITY;
      softmax.update(s, a.shape.scale * log2_e, [&](const float(&shrink)[2]) {
#pragma unroll
        for (int i = 0; i < Width / 16; ++i) {
#pragma unroll
          for (int e = 0; e < 4; ++e) o[i][e] *= shrink[e % 2];
        }
      });
      const unsigned p[2] = {transposed(pack<T>(s[0], s[1])), transposed(pack<T>(s[2], s[3]))};
#pragma unroll
      for (int i = 0; i < Width / 16; ++i) {
        v.load(f, i, 0);
        mma<T>(o[i], f, p[0], p[1]);
      }
    }
    softmax.finish();

    __syncthreads();  // nobody reads the partial results of the last split any more
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int head = lane_id() % 4 * 2 + e % 2, row = lane_id() / 4 + e / 2 * 8;
      if (head >= group) continue;
      float* part = warp_parts + warp * part_floats + head * row_floats;
      if (row == 0) part[head_dim] = softmax.reference[e % 2], part[head_dim + 1] = softmax.sum[e % 2];
#pragma unroll
      for (int i = 0; i < Width / 16; ++i)
        if (i * 16 + row < head_dim) part[i * 16 + row] = o[i][e];
    }
    __syncthreads();
    const auto finish = [&](int head, int column, float4 x, float, float sum) {
      const float inverse = sum > 0 ? 1 / sum : 0.0f;
      *reinterpret_cast<uint2*>(a.o.row(split.row) + (kv_head * group + head) * head_dim + column) =
          make_uint2(pack<T>(x.x * inverse, x.y * inverse), pack<T>(x.z * inverse, x.w * inverse));
    };
    float* const sequence_parts = parts + (std::ptrdiff_t{split.index} * kv_heads + kv_head) * part_floats;
    const int part_stride = kv_heads * part_floats;
    const AttentionParts<false> of_warps{warp_parts, part_floats, row_floats};
    if (split.count == 1) {
      merge_parts<Tiles::threads, Tiles::warps>(Tiles::warps, group, head_dim, of_warps, finish);
      continue;
    }
    merge_parts<Tiles::threads, Tiles::warps>(
        Tiles::warps, group, head_dim, of_warps, [&](int head, int column, float4 x, float reference, float sum) {
          float* part = sequence_parts + split.place * part_stride + head * row_floats;
          if (column == 0) *reinterpret_cast<float2*>(part + head_dim) = make_float2(reference, sum);
          *reinterpret_cast<float4*>(part + column) = x;
        });
    __syncthreads();
    if (threadIdx.x == 0) {
      unsigned& arrivals = paged_decode_arrivals[split.sequence * kv_heads + kv_head];
      __threadfence();
      last = atomicAdd(&arrivals, 1u) + 1 == static_cast<unsigned>(split.count);
      if (last) arrivals = 0;
      __threadfence();
    }
    __syncthreads();
    const AttentionParts<true> of_splits{sequence_parts, part_stride, row_floats};
    if (last) merge_parts<Tiles::threads, 8>(split.count, group, head_dim, of_splits, finish);
  }
  wait_copies<0>();
}

template <class T, int Stages>
void launch_paged_decode(Stream<Cuda> s, const PagedAttentionFwd<T>& a) {
  const int kv_heads = a.shape.kv_heads, group = a.shape.heads / kv_heads, head_dim = a.shape.head_dim;
  Arena::Scope scope(*s.scratch);
  float* parts = reinterpret_cast<float*>(s.scratch->take<std::byte>(paged_attention<Cuda>::workspace_bytes(a)));
  with_tile_width(head_dim, [&]<int Width>() {
    using Tiles = PagedDecodeTiles<Width, Stages>;
    const int bytes = Tiles::shared_bytes(group, head_dim), blocks = a.splits.workers * kv_heads;
    allow_shared(paged_attention_decode<T, Width, Stages>, bytes);
    launch_dependent_shared(s, paged_attention_decode<T, Width, Stages>, blocks, Tiles::threads, bytes, a, parts);
    check_launch("paged_attention_decode");
  });
}

template <int Threads>
__global__ void __launch_bounds__(Threads) paged_edit_fwd(PageTableEdits a) {
  start_in_turn();
  const int i = blockIdx.x * Threads + threadIdx.x;
  if (i < a.count) a.entries[a.at[i]] = a.page[i];
}

/// Rows of blocks (y): q, keys, values; blocks along z share a token's heads. Keys go from registers to their page.
template <class T, int Lanes>
__global__ void __launch_bounds__(rope_warps* warp_size) rotate_and_write_fwd(RotateAndWrite<T> a) {
  start_early(a.q.x.rows);
  const int n = blockIdx.x * rope_warps + threadIdx.x / warp_size;
  if (n >= a.q.x.rows) return;
  if (blockIdx.y == 0)
    return rotate_heads<T, Lanes, true>(a.q, n, blockIdx.z, gridDim.z,
                                        [&](int head) { return a.q.y.row(n) + head * a.q.head_dim; });
  const PagedWrite<T>& to = a.write;
  const int slot = to.slots[n], tokens = to.k_pages.page_tokens, page = slot / tokens, row = slot % tokens;
  if (slot < 0) return;
  if (blockIdx.y == 1)
    return rotate_heads<T, Lanes, true>(a.k, n, blockIdx.z, gridDim.z,
                                        [&](int head) { return to.k_pages.row(page, head, row, to.head_dim); });
  for (int at = piece_elements<T> * (blockIdx.z * warp_size + lane_id()); at < to.v.cols;
       at += piece_elements<T> * gridDim.z * warp_size)
    *reinterpret_cast<uint4*>(to.v_pages.row(page, at / to.head_dim, row, to.head_dim) + at % to.head_dim) =
        *reinterpret_cast<const uint4*>(to.v.row(n) + at);
}

/// A thread copies 16 bytes: grid of N rows, each of 2 * K * Dh elements.
template <class T>
__global__ void paged_write_fwd(PagedWrite<T> a) {
  start_in_turn();
  const int row = blockIdx.x, slot = a.slots[row], pieces = a.k.cols / piece_elements<T>;
  if (slot < 0) return;
  for (int i = threadIdx.x; i < 2 * pieces; i += blockDim.x) {
    const bool value = i >= pieces;
    const int at = i % pieces * piece_elements<T>, tokens = a.k_pages.page_tokens;
    const auto& from = value ? a.v : a.k;
    const auto& to = value ? a.v_pages : a.k_pages;
    *reinterpret_cast<uint4*>(to.row(slot / tokens, at / a.head_dim, slot % tokens, a.head_dim) + at % a.head_dim) =
        *reinterpret_cast<const uint4*>(from.row(row) + at);
  }
}

}  // namespace lamina::kernel::cuda

[[gnu::used]] inline void lamina::kernel::paged_attention<lamina::Cuda>::edit(Stream<Cuda> s, const PageTableEdits& a) {
  constexpr int threads = 256;
  if (a.count == 0) return;
  cuda::launch_dependent(s, cuda::paged_edit_fwd<threads>, cuda::ceil_div(a.count, threads), threads, a);
  cuda::check_launch("paged_edit_fwd");
}

template <class T>
void lamina::kernel::paged_attention<lamina::Cuda>::write(Stream<Cuda> s, const PagedWrite<T>& a) {
  if (a.k.rows == 0) return;
  if (a.head_dim % cuda::piece_elements<T> != 0 || !cuda::in_pieces(a.k) || !cuda::in_pieces(a.v))
    fail("paged attention: heads of ", a.head_dim, ", rows ", a.k.stride, " and ", a.v.stride,
         " apart; the kernel copies 16 bytes at a time");
  cuda::launch_dependent(s, cuda::paged_write_fwd<T>, a.k.rows, 128, a);
  cuda::check_launch("paged_write_fwd");
}

template <class T>
void lamina::kernel::paged_attention<lamina::Cuda>::rotate_and_write(Stream<Cuda> s, const RotateAndWrite<T>& a) {
  const PagedWrite<T>& to = a.write;
  if (a.q.x.rows == 0) return;
  if (!cuda::halves_are_whole<T>(a.q) || !cuda::halves_are_whole<T>(a.k) ||
      !cuda::in_pieces<cuda::piece_elements<T>>(a.q.y) || !cuda::in_pieces(to.v)) {
    norm_rope<Cuda>::forward(s, a.q, a.k);
    return write(s, to);
  }
  const int blocks = cuda::ceil_div(a.q.x.rows, cuda::rope_warps), threads = cuda::rope_warps * cuda::warp_size;
  cuda::with_head_share<T>(to.head_dim, true, [&]<int Lanes, bool Whole>() {
    if constexpr (Whole) {
      const int heads = cuda::ceil_div(a.q.x.cols / to.head_dim, cuda::HeadShare<T, Lanes, true>::groups);
      const int shares = std::clamp(s.device->multiprocessors() / (3 * blocks), 1, heads);
      cuda::launch_dependent(s, cuda::rotate_and_write_fwd<T, Lanes>, dim3(blocks, 3, shares), threads, a);
    }
  });
  cuda::check_launch("rotate_and_write_fwd");
}

[[gnu::used]] inline void lamina::kernel::paged_attention<lamina::Cuda>::split(Stream<Cuda> s, const SplitKeys& a) {
  constexpr int threads = cuda::most_paged_sequences;
  if (a.sequences > threads) fail("paged attention: ", a.sequences, " sequences; the kernel takes ", threads);
  cuda::launch_dependent(s, cuda::split_keys_fwd<threads>, 1, threads, a);
  cuda::check_launch("split_keys_fwd");
}

template <class T>
void lamina::kernel::paged_attention<lamina::Cuda>::decode(Stream<Cuda> s, const PagedAttentionFwd<T>& a) {
  if constexpr (std::is_same_v<T, float>) {
    cuda::paged_attention_f32(s, a, a.sequences);
  } else {
    cuda::expect_attention(a.shape);
    cuda::expect_chunks("q", a.q, a.shape);
    cuda::expect_chunks("o", a.o, a.shape);
    if (a.shape.kv_heads > cuda::most_paged_kv_heads || a.shape.heads / a.shape.kv_heads > 8)
      fail("paged attention: ", a.shape.heads, " heads over ", a.shape.kv_heads,
           " kv heads; the kernel takes 16 kv heads and 8 heads for each");
    cuda::launch_paged_decode<T, 2>(s, a);
  }
}

template <class T>
void lamina::kernel::paged_attention<lamina::Cuda>::forward(Stream<Cuda> s, const PagedAttentionFwd<T>& a) {
  if constexpr (std::is_same_v<T, float>) {
    cuda::paged_attention_f32(s, a, a.q.rows);
  } else {
    cuda::expect_attention(a.shape);
    cuda::expect_chunks("q", a.q, a.shape);
    cuda::expect_chunks("o", a.o, a.shape);
    if (a.q.rows > 0) cuda::attention_forward_tiles(s, a);
  }
}
