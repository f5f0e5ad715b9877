#pragma once
#include <lamina/kernel/cuda/device/bulk_copy.cuh>
#include <lamina/kernel/cuda/device/cluster.cuh>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/device/wgmma.cuh>
#include <lamina/kernel/matmul/matmul.hpp>

/// A weight against some rows of tokens, bounded by reading the weight once: decoding on sm_90a.
///
/// A block takes 128 rows of the weight, through a ring of tiles in shared memory, and a share of the depth. Blocks of
/// the same rows are a cluster: each adds up the partial sums of its slice of the rows in the order of the shares. The
/// first tiles of the weight are asked for before the kernels ahead have ended. How the depth is shared does not depend
/// on the number of tokens, so a token's result does not depend on its neighbours.
namespace lamina::kernel::cuda {

/// y[s,z] = alpha * sum_k x[s,k] w[z,k] + bias[z] + beta * y[s,z]; with Gated, y[s,z] = silu(of row z) * (of row
/// z + y.cols), and alpha, bias and beta do not count.
/// Rows of all matrices consist of 16-byte pieces, depth and the rows of w are multiples of 8.
template <class T>
struct WeightProduct {
  Matrix<const T> w, x;
  Matrix<T> y;
  const T* bias = nullptr;
  float alpha = 1, beta = 0;

  bool supported() const { return in_pieces(w) && in_pieces(x) && in_pieces(y) && w.cols % 8 == 0 && y.cols % 8 == 0; }
};

inline constexpr int most_splits = 8;

/// Columns: of the accumulators, rows of x. Two warpgroups multiply, one warp asks for tiles.
template <int Columns, int Stages, bool Splits>
struct WeightProductTiles {
  static constexpr int rows = 128, depth = 64, threads = 2 * warpgroup_size + warp_size, stages = Stages;
  using W = PanelTile<rows, depth>;
  using X = PanelTile<Columns, depth>;
  static constexpr int stage_bytes = W::bytes + X::bytes, ring_bytes = stages * stage_bytes;
  /// Floats from a column of partial sums to the next: the writes of a warp meet no bank twice.
  __host__ __device__ static constexpr int part_stride(int splits) { return rows / splits + 4; }
  /// Partial sums that other blocks send must not meet tiles that are still read.
  static constexpr int part_bytes = Columns * (Splits ? most_splits * part_stride(most_splits) : part_stride(1)) * 4;
  static constexpr int shared_bytes = Splits ? ring_bytes + part_bytes : std::max(ring_bytes, part_bytes);
  static constexpr int blocks_per_multiprocessor = shared_bytes > (113 << 10) ? 1 : 2;
};

/// grid: (tiles of w's rows) * splits in clusters of splits, tiles of x's rows; splits are a power of two, 1 without
/// Splits. w_boxes: 64 rows each; x_boxes: Columns.
template <class T, int Columns, int Stages, bool Splits, bool Gated>
__global__ void __launch_bounds__(WeightProductTiles<Columns, Stages, Splits>::threads,
                                  WeightProductTiles<Columns, Stages, Splits>::blocks_per_multiprocessor)
    weight_product(WeightProduct<T> p, int splits, const __grid_constant__ CUtensorMap w_boxes,
                   const __grid_constant__ CUtensorMap x_boxes) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using Tiles = WeightProductTiles<Columns, Stages, Splits>;
  constexpr int out_rows = Gated ? Tiles::rows / 2 : Tiles::rows;
  extern __shared__ __align__(1024) unsigned char shared[];
  __shared__ std::uint64_t here[Stages], used[Stages], received;
  const unsigned base = shared_address(shared);
  const int split = blockIdx.x % splits, z0 = blockIdx.x / splits * out_rows, s0 = blockIdx.y * Columns;
  const int steps = ceil_div(p.w.cols, Tiles::depth), each = ceil_div(steps, splits), first = split * each;
  const int count = max(0, min(each, steps - first)), group = threadIdx.x / warpgroup_size;
  const int columns = min(Columns, p.x.rows - s0), stride = Tiles::part_stride(splits);
  const int part_bytes = Columns * stride * 4, sent_bytes = columns * stride * 4;
  const auto w_tile = [&](int i) { return typename Tiles::W{base + i % Stages * Tiles::stage_bytes}; };
  const auto x_tile = [&](int i) { return typename Tiles::X{w_tile(i).base + Tiles::W::bytes}; };
  if (threadIdx.x == 0) {
    prefetch_boxes(w_boxes), prefetch_boxes(x_boxes);
    for (int i = 0; i < Stages; ++i) CopyBarrier(&here[i]).begin(1), CopyBarrier(&used[i]).begin(2);
    if (Splits) {
      CopyBarrier(&received).begin(1);
      CopyBarrier(&received).arrive_expecting(splits * sent_bytes);
    }
    publish_barriers();
  }
  __syncthreads();
  let_next_start();
  if (Splits) Cluster::arrive();

  float sum[1][Columns / 8][4];
  clear(sum);
  if (group == 2) {
    if (lane_id() == 0) {
      const auto copy_w = [&](int i) {
        const CopyBarrier barrier(&here[i % Stages]);
        barrier.arrive_expecting(Tiles::stage_bytes);
        const int k = (first + i) * Tiles::depth;
        barrier.copy_box(w_tile(i).base, w_boxes, k, z0);
        barrier.copy_box(w_tile(i).base + Tiles::W::bytes / 2, w_boxes, k, z0 + (Gated ? p.y.cols : 64));
      };
      const auto copy_x = [&](int i) {
        CopyBarrier(&here[i % Stages]).copy_box(x_tile(i).base, x_boxes, (first + i) * Tiles::depth, s0);
      };
      for (int i = 0; i < min(Stages, count); ++i) copy_w(i);
      wait_for_earlier();
      for (int i = 0; i < min(Stages, count); ++i) copy_x(i);
      for (int i = Stages; i < count; ++i) {
        CopyBarrier(&used[i % Stages]).wait((i / Stages - 1) % 2);
        copy_w(i), copy_x(i);
      }
    }
    __syncwarp();
  } else {
    for (int i = 0; i < count; ++i) {
      CopyBarrier(&here[i % Stages]).wait(i / Stages % 2);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < Tiles::depth / 16; ++step)
        wgmma<T, false, false>(sum, w_tile(i).along_rows(64 * group, step), x_tile(i).along_rows(0, step), true);
      wgmma_commit();
      wgmma_wait<1>();
      if (i > 0 && threadIdx.x % warpgroup_size == 0) CopyBarrier(&used[(i - 1) % Stages]).arrive();
    }
    wgmma_wait<0>();
  }
  wait_for_earlier();

  // Partial sums are gathered where tiles were, and sent to the block that adds up their slice of the rows.
  const int slice = out_rows / splits;
  __syncthreads();                                       // all tiles have been read
  float* const part = reinterpret_cast<float*>(shared);  // (owner, column, row)
  if (group < 2) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = threadIdx.x / warp_size * 16 + half * 8 + lane_id() / 4, out = row % out_rows;
      float* const to =
          part + (out / slice * Columns + lane_id() % 4 * 2) * stride + out % slice + row / out_rows * slice;
#pragma unroll
      for (int n = 0; n < Columns / 8; ++n)
#pragma unroll
        for (int v = 0; v < 2; ++v) to[(8 * n + v) * stride] = sum[0][n][2 * half + v];
    }
    publish_to_wgmma();
  }
  __syncthreads();
  if (Splits) {
    if (threadIdx.x < splits) {
      Cluster::send(Cluster::in_block(base + Tiles::ring_bytes, threadIdx.x) + split * part_bytes,
                    base + threadIdx.x * part_bytes, sent_bytes,
                    Cluster::in_block(shared_address(&received), threadIdx.x));
    }
    CopyBarrier(&received).wait(0);
    __syncwarp();
    Cluster::arrive();
  }
  const int quads = slice / 4, shift = __ffs(quads) - 1, rounds = quads * columns;
  const float* const from = reinterpret_cast<const float*>(shared + (Splits ? Tiles::ring_bytes : 0));
  const auto total = [&](int s, int row) {
    float4 all = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int r = 0; r < (Splits ? most_splits : 1); ++r) {
      if (r >= splits) continue;
      const float4 x = *reinterpret_cast<const float4*>(from + (r * Columns + s) * stride + row);
      all.x += x.x, all.y += x.y, all.z += x.z, all.w += x.w;
    }
    return all;
  };
#pragma unroll 2
  for (int at = threadIdx.x; at < rounds; at += Tiles::threads) {
    const int s = at >> shift, row = (at & (quads - 1)) * 4, z = z0 + split * slice + row;
    if (z >= p.y.cols) continue;
    const float4 sum = total(s, row);
    float out[4] = {sum.x, sum.y, sum.z, sum.w};
    T* const to = p.y.row(s0 + s) + z;
    if constexpr (Gated) {
      const float4 up = total(s, row + slice);
      const float by[4] = {up.x, up.y, up.z, up.w};
#pragma unroll
      for (int e = 0; e < 4; ++e) out[e] = by[e] * out[e] / (1 + __expf(-out[e]));
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        out[e] = p.alpha * out[e] + (p.bias ? widen(p.bias[z + e]) : 0.0f);
        if (p.beta != 0) out[e] += p.beta * widen(to[e]);
      }
    }
    *reinterpret_cast<uint2*>(to) = make_uint2(pack<T>(out[0], out[1]), pack<T>(out[2], out[3]));
  }
  if (Splits) Cluster::wait();  // nobody leaves while what it sends is still read
#endif
}

template <class T>
Matrix<const T> as_matrix(const Weight& w) {
  return {static_cast<const T*>(w.data), w.rows, w.cols, w.stride};
}

/// The number of blocks that share the depth, if this is the fastest kernel for a product of so many tokens with w, or
/// the only one whose results do not depend on how many they are; else 0. At most one block runs on a multiprocessor,
/// each with some tiles to read. They take longer to begin and end than those of streamed_product.cuh; those that share
/// the depth, longer than cuBLASLt's.
template <class T>
int weight_product_splits(Stream<Cuda> s, const Weight& w, int tokens) {
  constexpr int most = 64;  // bench_kernel_matmul few_rows, bench_gpu_engine; H200
  const bool invariant = s.device->batch_invariant;
  if (s.device->compute_capability() != 90 || w.dtype != dtype_of<T>) return 0;
  if (!invariant && (w.rows < 256 || w.cols < 256 || tokens <= most_streamed_tokens || tokens > most)) return 0;
  int splits = 1;
  while (2 * splits <= most_splits && ceil_div(w.rows, 128) * splits * 2 <= s.device->multiprocessors() &&
         w.cols / (2 * splits) >= 256)
    splits *= 2;
  return invariant || splits == 1 ? splits : 0;
}

template <int Columns, int Stages, bool Splits, bool Gated, class T>
void launch_weight_product(Stream<Cuda> s, const WeightProduct<T>& p, int row_tiles, int splits) {
  using Tiles = WeightProductTiles<Columns, Stages, Splits>;
  allow_shared(weight_product<T, Columns, Stages, Splits, Gated>, Tiles::shared_bytes);
  launch(s, weight_product<T, Columns, Stages, Splits, Gated>,
         {.grid = dim3(row_tiles * splits, ceil_div(p.x.rows, Columns)),
          .threads = dim3(Tiles::threads),
          .shared_bytes = Tiles::shared_bytes,
          .cluster = splits},
         p, splits, boxes_of(p.w, 64), boxes_of(p.x, Columns));
  check_launch("weight_product");
}
template <int Columns, int WhenSplit, int Alone, int Together, bool Gated, class T>
void choose_weight_product(Stream<Cuda> s, const WeightProduct<T>& p, int splits) {
  const int row_tiles = ceil_div(p.y.cols, Gated ? 64 : 128);
  if (splits > 1) return launch_weight_product<Columns, WhenSplit, true, Gated>(s, p, row_tiles, splits);
  if (row_tiles <= s.device->multiprocessors())
    return launch_weight_product<Columns, Alone, false, Gated>(s, p, row_tiles, 1);
  launch_weight_product<Columns, Together, false, Gated>(s, p, row_tiles, 1);
}
template <bool Gated, class T>
void run_weight_product(Stream<Cuda> s, const WeightProduct<T>& p, int splits) {
  if (p.x.rows <= 32) return choose_weight_product<32, 10, 11, 5, Gated>(s, p, splits);
  choose_weight_product<64, 7, 9, 4, Gated>(s, p, splits);
}

}  // namespace lamina::kernel::cuda
