#pragma once
#include <lamina/kernel/cuda/attention/flash/tiles.cuh>
#include <lamina/kernel/cuda/attention/paged_attention.hpp>

/// What a block of paged attention works with: its shared memory, the queries of a group, the tiles that a warp reads,
/// softmax over them, and the sums of partial results.
namespace lamina::kernel::cuda {

template <int Width, int Stages>
struct PagedDecodeTiles {
  static constexpr int warp_keys = 16, warps = 4, keys = warps * warp_keys, threads = warps * warp_size;
  static constexpr int stages = Stages, blocks_per_multiprocessor = Stages == 2 ? 3 : 2;
  using Tile = SharedTile<Width>;
  static constexpr int key_bytes = Tile::bytes(warp_keys), warp_bytes = stages * 2 * key_bytes;
  static constexpr int ring_bytes = warps * warp_bytes;
  static int shared_bytes(int group, int head_dim) {
    return ring_bytes + warps * group * part_row_floats(head_dim) * static_cast<int>(sizeof(float));
  }
};

/// The query heads of one group, at most eight, as the B operand of K q^T, in registers.
template <int Width>
struct GroupQueries {
  unsigned fragments[Width / 16][2];
  template <class T>
  __device__ GroupQueries(const T* q, int group, int head_dim) {
    const int head = lane_id() / 4;
#pragma unroll
    for (int step = 0; step < Width / 16; ++step) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int at = step * 16 + lane_id() % 4 * 2 + i * 8;
        fragments[step][i] =
            head < group && at < head_dim ? *reinterpret_cast<const unsigned*>(q + head * head_dim + at) : 0u;
      }
    }
  }
};

/// The transpose of an 8 x 8 block of 16-bit elements, of which each lane has two of row lane / 4.
__device__ inline unsigned transposed(unsigned pair) {
  unsigned r;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r) : "r"(pair));
  return r;
}

/// Softmax of one warp's keys for the two heads 2 (lane % 4) and one more, as scores (16 keys, 8 heads) arrive. Values
/// and sum are relative to 2^reference, which follows the maximum only if that has grown by more than `slack`.
struct HeadSoftmax {
  static constexpr float slack = 8;
  float reference[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};

  /// Scores become probabilities; scale includes log2 e. rescale(shrink of each head) is called if values must follow.
  template <class Rescale>
  __device__ void update(float (&s)[4], float scale, Rescale rescale) {
    float top[2], shrink[2];
    bool grew = false;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float t = fmaxf(s[h], s[h + 2]);
      for (int offset = 4; offset < warp_size; offset *= 2) t = fmaxf(t, __shfl_xor_sync(0xffffffffu, t, offset));
      top[h] = t * scale;
      grew |= top[h] > reference[h] + slack;  // also the first finite score: -inf + 8 is -inf
    }
    if (__any_sync(0xffffffffu, grew)) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float now = fmaxf(reference[h], top[h]);
        shrink[h] = reference[h] == -INFINITY ? 0.0f : fast_exp2(reference[h] - now);
        reference[h] = now, sum[h] *= shrink[h];
      }
      rescale(shrink);
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int h = e % 2;
      s[e] = fast_exp2(s[e] * scale - (reference[h] == -INFINITY ? 0.0f : reference[h]));
      sum[h] += s[e];
    }
  }
  /// Sums over all keys of the warp.
  __device__ void finish() {
#pragma unroll
    for (int h = 0; h < 2; ++h)
      for (int offset = 4; offset < warp_size; offset *= 2) sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], offset);
  }
};

/// Starts copying 16 rows of one page, of which `wanted` are there.
template <int Width, class T>
__device__ void copy_page_rows(unsigned tile, const T* from, int wanted, int head_dim) {
  constexpr int chunks = Width / 8;
#pragma unroll
  for (int i = lane_id(); i < 16 * chunks; i += warp_size) {
    const int row = i / chunks, chunk = i % chunks;
    copy_async(SharedTile<Width>::at(tile, row, chunk), from + row * head_dim + chunk * 8,
               row < wanted && chunk * 8 < head_dim);
  }
}

/// A warp's place among all tiles that it reads: split after split, tile after tile. The next split is loaded ahead.
template <int Width, int Stages>
struct TileCursor {
  using Tiles = PagedDecodeTiles<Width, Stages>;
  const KeySplit* splits;
  int at, end;
  KeySplit split, next;
  int key;  ///< the warp's next keys are key .. key + 16

  __device__ TileCursor(const KeySplits& all, int worker)
      : splits(all.splits), at(all.starts[worker]), end(all.starts[worker + 1]) {
    next = load(at);
    take();
  }
  __device__ bool done() const { return at >= end; }
  __device__ void advance() {
    key += Tiles::keys;
    if (key - warp_first() < split.end) return;
    ++at;
    take();
  }

 private:
  __device__ static int warp_first() { return static_cast<int>(threadIdx.x) / warp_size * Tiles::warp_keys; }
  __device__ KeySplit load(int i) const { return i < end ? splits[i] : KeySplit{}; }
  __device__ void take() {
    split = next;
    next = load(at + 1);
    key = split.first + warp_first();
  }
};

/// Partial results, in shared memory or left by other blocks: row by row o, reference, sum.
template <bool OtherBlocks>
struct AttentionParts {
  const float* first;
  int part_floats, row_floats;
  __device__ const float* row(int part, int row) const {
    return first + std::ptrdiff_t{part} * part_floats + row * row_floats;
  }
  __device__ float2 two(int part, int r, int at) const {
    const auto* from = reinterpret_cast<const float2*>(row(part, r) + at);
    return OtherBlocks ? __ldcg(from) : *from;
  }
  __device__ float4 four(int part, int r, int at) const {
    const auto* from = reinterpret_cast<const float4*>(row(part, r) + at);
    return OtherBlocks ? __ldcg(from) : *from;
  }
};

/// Adds partial results up, in their order: take(row, column, four of o, reference, sum) for each of `rows` rows. Each
/// thread weighs the parts of its row itself, and asks for several at once.
template <int Threads, int AtOnce, class Parts, class Take>
__device__ void merge_parts(int count, int rows, int head_dim, Parts part, Take take) {
  for (int at = threadIdx.x; at < rows * (head_dim / 4); at += Threads) {
    const int row = at / (head_dim / 4), column = at % (head_dim / 4) * 4;
    float top = -INFINITY, sum = 0;
    float4 o = make_float4(0, 0, 0, 0);
    for (int first = 0; first < count; first += AtOnce) {
      float2 weighed[AtOnce];
      float4 x[AtOnce];
#pragma unroll
      for (int i = 0; i < AtOnce; ++i) {
        const int from = min(first + i, count - 1);
        weighed[i] = part.two(from, row, head_dim), x[i] = part.four(from, row, column);
        if (first + i >= count) weighed[i].x = -INFINITY;
      }
      float now = top;
#pragma unroll
      for (int i = 0; i < AtOnce; ++i) now = fmaxf(now, weighed[i].x);
      const float shrink = top == -INFINITY ? 0.0f : fast_exp2(top - now);
      top = now, sum *= shrink, o.x *= shrink, o.y *= shrink, o.z *= shrink, o.w *= shrink;
#pragma unroll
      for (int i = 0; i < AtOnce; ++i) {
        const float weight = weighed[i].x == -INFINITY ? 0.0f : fast_exp2(weighed[i].x - top);
        sum += weight * weighed[i].y;
        o.x += weight * x[i].x, o.y += weight * x[i].y, o.z += weight * x[i].z, o.w += weight * x[i].w;
      }
    }
    take(row, column, o, top, sum);
  }
}

}  // namespace lamina::kernel::cuda
