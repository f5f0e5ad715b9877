#pragma once
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/device/mma.cuh>
#include <lamina/kernel/cuda/matmul/add_adapters.hpp>
#include <lamina/kernel/expect.hpp>

/// Two launches: t = A x of each row's own adapter, in parts of x's columns, then y += B t. Blocks take 16 neighbouring
/// rows and, one after another or side by side, the adapters that these have; rows of other adapters count as zeros.
/// Rows that are sorted by adapter, as the tokens of a prompt are, meet one adapter in a block.
namespace lamina::kernel::cuda {

/// AddAdapters as both kernels see it. t: (splits, M, parts * rank).
template <class T>
struct AdapterRows {
  Matrix<const T> x, a, b;
  Matrix<T> y;
  const int* slots;
  int slot_stride, rank, ranks, splits;
  int ends[AdapterMatrices::most_parts];  ///< columns of y at which parts end
  float* t;
  bool pieces;  ///< x's rows can be read 16 bytes at a time

  static constexpr int tile = 16;
  __device__ int slot(int row) const {
    return row < x.rows ? slots[static_cast<std::ptrdiff_t>(row) * slot_stride] : -1;
  }
  __device__ float* t_row(int split, int row) const {
    return t + (static_cast<std::ptrdiff_t>(split) * x.rows + row) * ranks;
  }
  __device__ int part_of(int column) const {
    int part = 0;
    while (column >= ends[part]) ++part;
    return part;
  }
};

/// The slots of a block's 16 rows, each in turn: f(slot) for every different one.
struct TileSlots {
  int of[16];
  template <class T>
  __device__ void load(const AdapterRows<T>& a, int first) {
    if (threadIdx.x < 16) of[threadIdx.x] = a.slot(first + static_cast<int>(threadIdx.x));
    __syncthreads();
  }
  /// Of blocks `count` side by side, the one at `own` takes each count-th slot. Whole warps.
  template <class F>
  __device__ void for_each(int own, int count, F f) const {
    const int lane = lane_id(), slot = lane < 16 ? of[lane] : -1;
    const unsigned same = __match_any_sync(0xffffffffu, slot);
    unsigned firsts = __ballot_sync(0xffffffffu, slot >= 0 && __ffs(static_cast<int>(same)) - 1 == lane);
    for (int different = 0; firsts != 0; firsts &= firsts - 1, ++different)
      if (different % count == own) f(of[__ffs(static_cast<int>(firsts)) - 1]);
  }
};

/// 8 elements of a row from column k on, zeros beyond its end.
template <class T>
__device__ void load_eight(unsigned (&to)[4], const T* row, int k, int end, bool pieces) {
  if (pieces && k + 8 <= end) {
    const uint4 piece = *reinterpret_cast<const uint4*>(row + k);
    to[0] = piece.x, to[1] = piece.y, to[2] = piece.z, to[3] = piece.w;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const unsigned low = k + 2 * i < end ? row[k + 2 * i].bits : 0u,
                   high = k + 2 * i + 1 < end ? row[k + 2 * i + 1].bits : 0u;
    to[i] = low | high << 16;
  }
}

/// t of 16 rows and 8 Blocks of its columns. Grid: tiles of rows, parts of x's columns times groups of t's, slots.
/// Warps share the columns of x: each takes 32 in turn, in any order of its own that both operands have, and loads
/// several turns' worth before it uses the first.
template <class T, int Blocks, int Warps>
__global__ void __launch_bounds__(Warps* warp_size) adapter_shrink(AdapterRows<T> a) {
  constexpr int ahead = Blocks <= 2 ? 4 : 2;
  __shared__ TileSlots tile;
  __shared__ float sums[Warps][16][8 * Blocks];
  start_early(a.x.rows);
  const int first = static_cast<int>(blockIdx.x) * 16, split = static_cast<int>(blockIdx.y) % a.splits,
            column = static_cast<int>(blockIdx.y) / a.splits * 8 * Blocks;
  const int width = ceil_div(ceil_div(a.x.cols, a.splits), 32) * 32, begin = split * width,
            end = min(begin + width, a.x.cols);
  const int warp = static_cast<int>(threadIdx.x) / warp_size, g = lane_id() / 4, q = lane_id() % 4;
  tile.load(a, first);
  tile.for_each(static_cast<int>(blockIdx.z), static_cast<int>(gridDim.z), [&](int slot) {
    float c[1][Blocks][4];
    clear(c);
    const bool low = tile.of[g] == slot, high = tile.of[g + 8] == slot;
    const T* const matrix = a.a.row(slot * a.ranks + column);
    for (int k0 = begin + warp * 32 + q * 8; k0 - q * 8 < end; k0 += ahead * Warps * 32) {
      unsigned x[ahead][2][4] = {}, w[ahead][Blocks][4] = {};
#pragma unroll
      for (int i = 0; i < ahead; ++i) {
        const int k = k0 + i * Warps * 32;
        if (low) load_eight(x[i][0], a.x.row(first + g), k, end, a.pieces);
        if (high) load_eight(x[i][1], a.x.row(first + g + 8), k, end, a.pieces);
#pragma unroll
        for (int block = 0; block < Blocks; ++block)
          if (column + block * 8 + g < a.ranks)
            load_eight(w[i][block], matrix + (block * 8 + g) * a.a.stride, k, end, true);
      }
#pragma unroll
      for (int i = 0; i < ahead; ++i) {
        const auto &lo = x[i][0], &hi = x[i][1];
#pragma unroll
        for (int block = 0; block < Blocks; ++block) {
          mma<T>(c[0][block], {lo[0], hi[0], lo[1], hi[1]}, w[i][block][0], w[i][block][1]);
          mma<T>(c[0][block], {lo[2], hi[2], lo[3], hi[3]}, w[i][block][2], w[i][block][3]);
        }
      }
    }
#pragma unroll
    for (int block = 0; block < Blocks; ++block) {
      float* const to = &sums[warp][g][block * 8 + 2 * q];
      to[0] = c[0][block][0], to[1] = c[0][block][1];
      to[8 * 8 * Blocks] = c[0][block][2], to[8 * 8 * Blocks + 1] = c[0][block][3];
    }
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < 16 * 8 * Blocks; i += Warps * warp_size) {
      const int row = i / (8 * Blocks), r = i % (8 * Blocks);
      if (tile.of[row] != slot || column + r >= a.ranks) continue;
      float sum = 0;
      for (int w = 0; w < Warps; ++w) sum += sums[w][row][r];
      a.t_row(split, first + row)[column + r] = sum;
    }
    __syncthreads();
  });
}

/// y of 16 rows and 8 Blocks Warps columns. Grid: tiles of rows, groups of columns, slots.
template <class T, int Blocks, int Warps>
__global__ void __launch_bounds__(Warps* warp_size) adapter_expand(AdapterRows<T> a) {
  __shared__ TileSlots tile;
  start_early(a.x.rows);
  const int first = static_cast<int>(blockIdx.x) * 16,
            column = (static_cast<int>(blockIdx.y) * Warps + static_cast<int>(threadIdx.x) / warp_size) * 8 * Blocks;
  const int g = lane_id() / 4, q = lane_id() % 4;
  tile.load(a, first);
  float c[1][Blocks][4];
  clear(c);
  /// The sum of both parts of t of one row, rounded to T.
  const auto two = [&](bool wanted, int row, int r) {
    float low = 0, high = 0;
#pragma unroll
    for (int split = 0; split < most_adapter_splits; ++split) {
      if (!wanted || split >= a.splits) continue;
      const float2 part = *reinterpret_cast<const float2*>(a.t_row(split, row) + r);
      low += part.x, high += part.y;
    }
    return pack<T>(low, high);
  };
  bool mine[2] = {};  // rows g and g + 8: whether their slots are this block's
  tile.for_each(static_cast<int>(blockIdx.z), static_cast<int>(gridDim.z), [&](int slot) {
    const bool low = tile.of[g] == slot, high = tile.of[g + 8] == slot;
    mine[0] |= low, mine[1] |= high;
    const T* const matrix = a.b.row(slot * a.y.cols);
    int part = -1;
    for (int r = 2 * q; r < a.rank; r += 16) {
      unsigned t[4];
#pragma unroll
      for (int block = 0; block < Blocks; ++block) {
        const int at = column + block * 8;
        if (at >= a.y.cols) break;
        if (block == 0 || a.part_of(at) != part) {
          part = a.part_of(at);
          const int from = part * a.rank + r;
          t[0] = two(low, first + g, from), t[1] = two(high, first + g + 8, from);
          t[2] = two(low, first + g, from + 8), t[3] = two(high, first + g + 8, from + 8);
        }
        const T* const w = matrix + static_cast<std::ptrdiff_t>(at + g) * a.rank + r;
        mma<T>(c[0][block], t, *reinterpret_cast<const unsigned*>(w), *reinterpret_cast<const unsigned*>(w + 8));
      }
    }
  });
#pragma unroll
  for (int block = 0; block < Blocks; ++block) {
    const int at = column + block * 8 + 2 * q;
    if (at >= a.y.cols) break;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (!mine[half]) continue;
      T* const y = a.y.row(first + g + 8 * half) + at;
      y[0] = narrow<T>(widen(y[0]) + c[0][block][2 * half]);
      y[1] = narrow<T>(widen(y[1]) + c[0][block][2 * half + 1]);
    }
  }
}

/// One row per block, for any shape and fp32: sums of products as the formula has them.
template <class T, int Warps>
__global__ void __launch_bounds__(Warps* warp_size) adapter_row(AdapterRows<T> a) {
  start_early(a.x.rows);
  const int row = static_cast<int>(blockIdx.x), slot = a.slot(row), warp = static_cast<int>(threadIdx.x) / warp_size;
  if (slot < 0) return;
  float* const t = a.t_row(0, row);
  for (int r = warp; r < a.ranks; r += Warps) {
    const T* const w = a.a.row(slot * a.ranks + r);
    float sum = 0;
    for (int k = lane_id(); k < a.x.cols; k += warp_size) sum += widen(w[k]) * widen(a.x(row, k));
    sum = warp_sum(sum);
    if (lane_id() == 0) t[r] = widen(narrow<T>(sum));
  }
  __syncthreads();
  for (int o = static_cast<int>(threadIdx.x); o < a.y.cols; o += Warps * warp_size) {
    const T* const w = a.b.row(slot * a.y.cols + o);
    const float* const own = t + a.part_of(o) * a.rank;
    float sum = widen(a.y(row, o));
    for (int r = 0; r < a.rank; ++r) sum += widen(w[r]) * own[r];
    a.y(row, o) = narrow<T>(sum);
  }
}

/// Whether tensor cores take the shape: ranks in steps of 16, parts that end between groups of 8 columns.
template <class T>
bool takes_tensor_cores(const AdapterRows<T>& a, int parts) {
  bool whole = a.rank % 16 == 0 && in_pieces(a.a) && is_aligned(a.b.data) && a.b.stride == a.b.cols;
  for (int part = 0; part < parts; ++part) whole = whole && a.ends[part] % 8 == 0;
  return whole;
}

template <class T, int Blocks>
void launch_shrink(Stream<Cuda> s, const AdapterRows<T>& a, int tiles, int side_by_side) {
  constexpr int warps = 8;
  const dim3 grid(tiles, a.splits * ceil_div(a.ranks, 8 * Blocks), side_by_side);
  launch_dependent(s, adapter_shrink<T, Blocks, warps>, grid, warps * warp_size, a);
  check_launch("adapter_shrink");
}
template <class T>
void launch_adapters(Stream<Cuda> s, const AdapterRows<T>& a, int slots) {
  constexpr int most_tiles = 64;  // with more there are blocks enough without one for each slot
  const int tiles = ceil_div(a.x.rows, AdapterRows<T>::tile),
            side_by_side = tiles > most_tiles ? 1 : std::min({slots, a.x.rows, AdapterRows<T>::tile});
  if (a.ranks <= 16)
    launch_shrink<T, 2>(s, a, tiles, side_by_side);
  else if (a.ranks <= 32)
    launch_shrink<T, 4>(s, a, tiles, side_by_side);
  else
    launch_shrink<T, 6>(s, a, tiles, side_by_side);
  constexpr int warps = 4, blocks = 4;
  const dim3 grid(tiles, ceil_div(a.y.cols, 8 * blocks * warps), side_by_side);
  launch_dependent(s, adapter_expand<T, blocks, warps>, grid, warps * warp_size, a);
  check_launch("adapter_expand");
}

}  // namespace lamina::kernel::cuda

template <class T>
void lamina::kernel::add_adapters<lamina::Cuda>::forward(Stream<Cuda> s, const AddAdapters<T>& a) {
  const AdapterMatrices& m = a.adapters;
  if (m.a.dtype != dtype_of<T> || m.b.dtype != dtype_of<T>)
    fail("add_adapters: matrices of ", name_of(m.a.dtype), ", activations of ", name_of(dtype_of<T>));
  detail::expect_shape("add_adapters", "A", m.a.rows, m.a.cols, m.slots * m.ranks(), a.x.cols);
  detail::expect_shape("add_adapters", "B", m.b.rows, m.b.cols, m.slots * a.y.cols, m.rank);
  if (a.x.rows == 0) return;
  Arena::Scope scope(*s.scratch);
  const auto matrix = [](const Weight& w) {
    return Matrix<const T>(static_cast<const T*>(w.data), w.rows, w.cols, w.stride);
  };
  cuda::AdapterRows<T> rows{.x = a.x,
                            .a = matrix(m.a),
                            .b = matrix(m.b),
                            .y = a.y,
                            .slots = a.slots,
                            .slot_stride = a.slot_stride,
                            .rank = m.rank,
                            .ranks = m.ranks(),
                            .splits = splits(a.x.cols),
                            .ends = {},
                            .t = s.scratch->take<float>(workspace_bytes(a) / sizeof(float)),
                            .pieces = cuda::in_pieces(a.x)};
  for (int part = 0, end = 0; part < m.parts; ++part) rows.ends[part] = end += m.widths[static_cast<std::size_t>(part)];
  if constexpr (!std::is_same_v<T, float>)
    if (cuda::takes_tensor_cores(rows, m.parts)) return cuda::launch_adapters(s, rows, m.slots);
  constexpr int warps = 8;
  cuda::launch_dependent(s, cuda::adapter_row<T, warps>, a.x.rows, warps * cuda::warp_size, rows);
  cuda::check_launch("adapter_row");
}
