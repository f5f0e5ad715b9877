#pragma once
#include <lamina/kernel/cuda/device/cluster.cuh>
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/device/mma.cuh>
#include <lamina/kernel/matmul/add_adapters.hpp>

/// One launch. Clusters take one adapter and, of a window of 64 rows, those that have it, 16 at a time. A cluster's
/// blocks share the columns of x, add up t = A x over their shared memories, and share the columns of y += B t.
namespace lamina::kernel::cuda {

/// AddAdapters as the kernels see it.
template <class T>
struct AdapterRows {
  Matrix<const T> x, a, b;
  Matrix<T> y;
  const int* slots;
  int slot_stride, rank, ranks;
  int ends[RowTerms::most_parts];      ///< columns of y at which parts end; INT_MAX from the last part on
  int x_width, y_width, column_parts;  ///< adapter_product.cuh

  __device__ int slot(int row) const {
    return row < x.rows ? slots[static_cast<std::ptrdiff_t>(row) * slot_stride] : -1;
  }
  __device__ int part_of(int column) const {
    static_assert(RowTerms::most_parts == 4);
    return (column >= ends[0]) + (column >= ends[1]) + (column >= ends[2]);
  }
};

__device__ inline int warp_id() { return static_cast<int>(threadIdx.x) / warp_size; }

/// How adapter_product divides its work. Blocks: of 8 columns of t that a warp sums at once. Shares: blocks of a
/// cluster; a row's sums depend on this number alone.
template <class T, int Blocks, int Shares>
struct AdapterTiles {
  static constexpr int rows = 16, window = 64, warps = 8, threads = warps * warp_size, columns = 8 * Blocks;
  static constexpr int row_threads = threads / rows;  ///< threads that add up a row of t, 4 columns each
  static constexpr int sums_stride = columns + 8;     ///< writes of a warp meet no bank twice
  static constexpr int sums_bytes = warps * rows * sums_stride * static_cast<int>(sizeof(float));
  /// Partial sums of warps; t of this block's columns of x in fp32; t in T.
  static int shared_bytes(int ranks) {
    return sums_bytes +
           rows * (ranks * static_cast<int>(sizeof(float)) + t_stride(ranks) * static_cast<int>(sizeof(T)));
  }
  __host__ __device__ static constexpr int t_stride(int ranks) { return ranks + 8; }

  float *sums, *own;
  T* t;
  __device__ AdapterTiles(unsigned char* shared, int ranks)
      : sums(reinterpret_cast<float*>(shared)),
        own(reinterpret_cast<float*>(shared + sums_bytes)),
        t(reinterpret_cast<T*>(own + rows * ranks)) {}
  /// The row and the first of 4 columns that this thread adds up.
  __device__ static int own_row() { return static_cast<int>(threadIdx.x) / row_threads; }
  __device__ static int own_column() { return static_cast<int>(threadIdx.x) % row_threads * 4; }
};

/// Neighbouring columns.
struct ColumnRange {
  int begin, end;
  __device__ ColumnRange(int columns, int width, int place)
      : begin(min(width * place, columns)), end(min(begin + width, columns)) {}
};

/// Asks for a part of B to be in L2 soon: all blocks of a slot together for the whole. Whole blocks.
template <class T>
__device__ void prefetch_columns(const AdapterRows<T>& a, const T* expanding) {
  constexpr int line = 128 / static_cast<int>(sizeof(T));
  const ColumnRange of_y(a.y.cols, a.y_width, static_cast<int>(blockIdx.x));
  for (int at = of_y.begin * a.rank + static_cast<int>(threadIdx.x) * line; at < of_y.end * a.rank;
       at += static_cast<int>(blockDim.x) * line)
    asm volatile("prefetch.global.L2 [%0];" ::"l"(expanding + at));
}

/// The window's rows that have an adapter, in order. Whole blocks.
template <int Window>
struct RowsOfSlot {
  int row[Window], count;
  template <class T>
  __device__ void find(const AdapterRows<T>& a, int slot, int first) {
    if (warp_id() == 0) {
      unsigned mine[Window / warp_size];
#pragma unroll
      for (int i = 0; i < Window / warp_size; ++i)
        mine[i] = __ballot_sync(0xffffffffu, a.slot(first + i * warp_size + lane_id()) == slot);
      int found = 0;
#pragma unroll
      for (int i = 0; i < Window / warp_size; ++i) {
        if (mine[i] >> lane_id() & 1u)
          row[found + __popc(mine[i] & ((1u << lane_id()) - 1))] = first + i * warp_size + lane_id();
        found += __popc(mine[i]);
      }
      if (lane_id() == 0) count = found;
    }
    __syncthreads();
  }
  /// Row n of the 16 from `from` on; beyond the last one, that one.
  __device__ int at(int from, int n) const { return row[min(from + n, count - 1)]; }
};

__device__ inline float4 operator+(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }

/// A warp's sums of some columns of x, for 16 rows and 8 Blocks columns of t. It takes 32 columns in turn, in any order
/// of its own that both operands have, and asks for A one turn ahead. Columns of t beyond the last one repeat that one.
template <class T, int Blocks, int Warps>
struct InnerSums {
  static constexpr int step = Warps * 32;
  ColumnRange range;
  const T* row[Blocks];  ///< of A
  uint4 ahead[Blocks];

  __device__ InnerSums(const AdapterRows<T>& a, const T* matrix, ColumnRange columns) : range(columns) {
    start(a, matrix, 0);
  }
  /// For columns of t from `column` on.
  __device__ void start(const AdapterRows<T>& a, const T* matrix, int column) {
#pragma unroll
    for (int block = 0; block < Blocks; ++block)
      row[block] = matrix + min(column + block * 8 + lane_id() / 4, a.ranks - 1) * a.a.stride;
    load(first());
  }
  __device__ void sum(float (&c)[1][Blocks][4], const T* low, const T* high) {
    clear(c);
    for (int k = first(); k < range.end; k += step) {
      const int at = column_of(k);
      uint4 x[2] = {piece(low, at), piece(high, at)}, w[Blocks];
#pragma unroll
      for (int block = 0; block < Blocks; ++block) w[block] = ahead[block];
      if (k + step < range.end) load(k + step);
      if (at < k + lane_column()) x[0] = x[1] = {};  // beyond the end: zeros
#pragma unroll
      for (int block = 0; block < Blocks; ++block) {
        mma<T>(c[0][block], {x[0].x, x[1].x, x[0].y, x[1].y}, w[block].x, w[block].y);
        mma<T>(c[0][block], {x[0].z, x[1].z, x[0].w, x[1].w}, w[block].z, w[block].w);
      }
    }
  }

 private:
  __device__ int first() const { return range.begin + warp_id() * 32; }
  __device__ static int lane_column() { return lane_id() % 4 * 8; }
  /// Of this lane's piece of the 32 columns from k on, or of the last piece.
  __device__ int column_of(int k) const { return min(k + lane_column(), range.end - 8); }
  __device__ static uint4 piece(const T* row, int k) { return *reinterpret_cast<const uint4*>(row + k); }
  __device__ void load(int k) {
    const int at = column_of(k);
#pragma unroll
    for (int block = 0; block < Blocks; ++block) ahead[block] = piece(row[block], at);
  }
};

/// own: t of 16 rows, of this block's columns of x. `inner` has been started at column 0.
template <class T, int Blocks, int Shares>
__device__ void shrink(const AdapterRows<T>& a, const AdapterTiles<T, Blocks, Shares>& tiles, const T* matrix,
                       InnerSums<T, Blocks, AdapterTiles<T, Blocks, Shares>::warps>& inner, const int (&row)[2]) {
  using Tiles = AdapterTiles<T, Blocks, Shares>;
  for (int column = 0; column < a.ranks; column += Tiles::columns) {
    float c[1][Blocks][4];
    if (column > 0) inner.start(a, matrix, column);
    inner.sum(c, a.x.row(row[0]), a.x.row(row[1]));
    float* const to = tiles.sums + (warp_id() * Tiles::rows + lane_id() / 4) * Tiles::sums_stride + lane_id() % 4 * 2;
#pragma unroll
    for (int block = 0; block < Blocks; ++block) {
      *reinterpret_cast<float2*>(to + block * 8) = {c[0][block][0], c[0][block][1]};
      *reinterpret_cast<float2*>(to + 8 * Tiles::sums_stride + block * 8) = {c[0][block][2], c[0][block][3]};
    }
    __syncthreads();
    if (const int r = Tiles::own_column(); r < Tiles::columns && column + r < a.ranks) {
      const float* const from = tiles.sums + Tiles::own_row() * Tiles::sums_stride + r;
      float4 sum{};
#pragma unroll
      for (int warp = 0; warp < Tiles::warps; ++warp)
        sum = sum + *reinterpret_cast<const float4*>(from + warp * Tiles::rows * Tiles::sums_stride);
      *reinterpret_cast<float4*>(tiles.own + Tiles::own_row() * a.ranks + column + r) = sum;
    }
    __syncthreads();
  }
}

/// t: the sum of all blocks' own, in the order of their shares. Between two meetings of the cluster.
template <class T, int Blocks, int Shares>
__device__ void gather(const AdapterRows<T>& a, const AdapterTiles<T, Blocks, Shares>& tiles) {
  using Tiles = AdapterTiles<T, Blocks, Shares>;
  const int row = Tiles::own_row();
  for (int r = Tiles::own_column(); r < a.ranks; r += Tiles::row_threads * 4) {
    const float* const here = tiles.own + row * a.ranks + r;
    float4 part[Shares], sum{};
#pragma unroll
    for (int share = 0; share < Shares; ++share)
      if constexpr (Shares > 1)
        part[share] = Cluster::load(Cluster::in_block(shared_address(here), share));
      else
        part[share] = *reinterpret_cast<const float4*>(here);
#pragma unroll
    for (int share = 0; share < Shares; ++share) sum = sum + part[share];
    *reinterpret_cast<uint2*>(tiles.t + row * Tiles::t_stride(a.ranks) + r) = {pack<T>(sum.x, sum.y),
                                                                               pack<T>(sum.z, sum.w)};
  }
  __syncthreads();
}

/// y += B t of 16 rows and a range of y's columns, which a warp takes 8 at a time and several times 8 at once: what it
/// reads from memory is on its way while t is still added up.
template <class T, int Blocks, int Shares>
struct Expansion {
  using Tiles = AdapterTiles<T, Blocks, Shares>;
  static constexpr int at_once = 6, apart = Tiles::warps * 8, step = at_once * apart;
  const AdapterRows<T>& a;
  const Tiles& tiles;
  const T* matrix;
  T* y[2];         ///< this lane's rows
  bool wanted[2];  ///< whether they are rows of their own
  ColumnRange range;
  unsigned before[at_once][2], b[at_once][2];

  __device__ static int first(ColumnRange range) { return range.begin + warp_id() * 8; }
  /// y and the first 16 ranks of B, of the columns from `from` on.
  __device__ void load(int from) {
    const T *const low = y[0] + from + lane_id() % 4 * 2, *const high = y[1] + from + lane_id() % 4 * 2;
#pragma unroll
    for (int i = 0; i < at_once; ++i)
      if (from + i * apart < range.end) before[i][0] = word(low + i * apart), before[i][1] = word(high + i * apart);
    load_matrix(from, 0);
  }
  __device__ void finish(int from) {
    float c[at_once][4];
#pragma unroll
    for (int i = 0; i < at_once; ++i)
      widen_pair(before[i][0], c[i][0], c[i][1]), widen_pair(before[i][1], c[i][2], c[i][3]);
    for (int r = 0; r < a.rank; r += 16) {
      if (r > 0) load_matrix(from, r);
#pragma unroll
      for (int i = 0; i < at_once; ++i) multiply(c[i], b[i], a.part_of(from + i * apart) * a.rank + r);
    }
    T *const low = y[0] + from + lane_id() % 4 * 2, *const high = y[1] + from + lane_id() % 4 * 2;
#pragma unroll
    for (int i = 0; i < at_once; ++i) {
      if (from + i * apart >= range.end) return;
      if (wanted[0]) word(low + i * apart) = pack<T>(c[i][0], c[i][1]);
      if (wanted[1]) word(high + i * apart) = pack<T>(c[i][2], c[i][3]);
    }
  }

 private:
  __device__ static unsigned& word(T* p) { return *reinterpret_cast<unsigned*>(p); }
  __device__ static const unsigned& word(const T* p) { return *reinterpret_cast<const unsigned*>(p); }
  __device__ static void widen_pair(unsigned two, float& low, float& high) {
    low = widen(T{static_cast<std::uint16_t>(two & 0xffffu)}), high = widen(T{static_cast<std::uint16_t>(two >> 16)});
  }
  __device__ void load_matrix(int from, int r) {
    const T* const row = matrix + static_cast<std::ptrdiff_t>(from + lane_id() / 4) * a.rank + r + lane_id() % 4 * 2;
    const int next = apart * a.rank;
#pragma unroll
    for (int i = 0; i < at_once; ++i)
      if (from + i * apart < range.end) b[i][0] = word(row + i * next), b[i][1] = word(row + i * next + 8);
  }
  /// c += 16 columns of t from `column` on, times B.
  __device__ void multiply(float (&c)[4], const unsigned (&b)[2], int column) const {
    const int stride = Tiles::t_stride(a.ranks);
    const T* const t = tiles.t + lane_id() / 4 * stride + column + lane_id() % 4 * 2;
    mma<T>(c, {word(t), word(t + 8 * stride), word(t + 8), word(t + 8 * stride + 8)}, b[0], b[1]);
  }
};

/// Which rows and which columns of y a cluster takes, of the clusters of one slot and window: those share the rows, 16
/// each, and if that leaves clusters, the columns, in column_parts at most. Both numbers are powers of two.
struct ClusterPlace {
  int row_parts, row_part, column_part;
  int columns_each;  ///< of column_parts
  bool idle;
  __device__ ClusterPlace(int cluster, int clusters, int column_parts, int rows) : row_parts(1) {
    while (row_parts < clusters && row_parts * 16 < rows) row_parts *= 2;
    row_part = cluster & (row_parts - 1), column_part = cluster / row_parts;
    columns_each = min(row_parts, column_parts), idle = column_part * columns_each >= column_parts;
  }
};

/// Grid: clusters of Shares blocks; slots; windows.
template <class T, int Blocks, int Shares>
__global__ void __launch_bounds__(AdapterTiles<T, Blocks, Shares>::threads, 2) adapter_product(AdapterRows<T> a) {
  using Tiles = AdapterTiles<T, Blocks, Shares>;
  extern __shared__ __align__(16) unsigned char adapter_tiles[];
  __shared__ RowsOfSlot<Tiles::window> rows;
  const int share = static_cast<int>(blockIdx.x) % Shares, slot = static_cast<int>(blockIdx.y), g = lane_id() / 4;
  const T *const shrinking = a.a.row(slot * a.ranks), *const expanding = a.b.row(slot * a.y.cols);
  InnerSums<T, Blocks, Tiles::warps> inner(a, shrinking, ColumnRange(a.x.cols, a.x_width, share));
  prefetch_columns(a, expanding);
  start_early(a.x.rows);
  rows.find(a, slot, static_cast<int>(blockIdx.z) * Tiles::window);
  const ClusterPlace place(static_cast<int>(blockIdx.x) / Shares, static_cast<int>(gridDim.x) / Shares, a.column_parts,
                           rows.count);
  if (place.idle) return;
  const ColumnRange of_y(a.y.cols, a.y_width * place.columns_each, place.column_part * Shares + share);
  const Tiles tiles(adapter_tiles, a.ranks);
  for (int from = place.row_part * 16; from < rows.count; from += place.row_parts * 16) {
    const int row[2] = {rows.at(from, g), rows.at(from, g + 8)};
    Expansion<T, Blocks, Shares> expansion{.a = a,
                                           .tiles = tiles,
                                           .matrix = expanding,
                                           .y = {a.y.row(row[0]), a.y.row(row[1])},
                                           .wanted = {from + g < rows.count, from + g + 8 < rows.count},
                                           .range = of_y,
                                           .before = {},
                                           .b = {}};
    int column = expansion.first(of_y);
    if (from >= place.row_parts * 16) inner.start(a, shrinking, 0);
    shrink(a, tiles, shrinking, inner, row);
    if constexpr (Shares > 1) Cluster::arrive();
    expansion.load(column);
    if constexpr (Shares > 1) Cluster::wait();
    gather(a, tiles);
    if constexpr (Shares > 1) Cluster::arrive_having_read();
    for (expansion.finish(column); (column += expansion.step) < of_y.end; expansion.finish(column))
      expansion.load(column);
    if constexpr (Shares > 1) Cluster::wait();
    __syncthreads();
  }
}

/// Whether tensor cores take the shape: ranks in steps of 16, parts that end between groups of 8 columns, rows of whole
/// pieces.
template <class T>
bool takes_tensor_cores(const AdapterRows<T>& a, int parts) {
  constexpr int most_ranks = 1024;  // of shared memory
  bool whole = a.rank % 16 == 0 && a.ranks <= most_ranks && a.x.cols % 8 == 0 && a.y.cols % 8 == 0 && in_pieces(a.x) &&
               in_pieces(a.a) && is_aligned(a.b.data) && a.b.stride == a.b.cols && in_pieces(a.y);
  for (int part = 0; part + 1 < parts; ++part) whole = whole && a.ends[part] % 8 == 0;
  return whole;
}

template <class T, int Blocks, int Shares>
void launch_adapter_product(Stream<Cuda> s, AdapterRows<T> a, int slots) {
  using Tiles = AdapterTiles<T, Blocks, Shares>;
  const int windows = ceil_div(a.x.rows, Tiles::window), shared_bytes = Tiles::shared_bytes(a.ranks);
  // Clusters share the columns while each block has a multiprocessor and each warp 8 columns, and the rows of a window
  // while two blocks have one: if these rows are of several slots, most of such clusters end at once.
  const auto fits = [&](int clusters, int blocks_each) {
    return clusters * Shares * slots * windows <= blocks_each * s.device->multiprocessors();
  };
  a.column_parts = 1;
  while (fits(2 * a.column_parts, 1) && 2 * a.column_parts * Shares * Tiles::warps * 8 <= a.y.cols) a.column_parts *= 2;
  int clusters = a.column_parts;
  while (fits(2 * clusters, 2) && clusters * Tiles::rows < std::min(a.x.rows, Tiles::window)) clusters *= 2;
  // Of a block: columns of x; columns of y if column_parts clusters share them.
  a.x_width = ceil_div(ceil_div(a.x.cols, Shares), 32) * 32;
  a.y_width = ceil_div(ceil_div(a.y.cols, a.column_parts * Shares), 8) * 8;
  allow_shared(adapter_product<T, Blocks, Shares>, shared_bytes);
  launch(s, adapter_product<T, Blocks, Shares>,
         {.grid = dim3(clusters * Shares, slots, windows),
          .threads = dim3(Tiles::threads),
          .shared_bytes = shared_bytes,
          .cluster = Shares},
         a);
  check_launch("adapter_product");
}
template <class T, int Shares>
void choose_adapter_product(Stream<Cuda> s, const AdapterRows<T>& a, int slots) {
  if (a.ranks <= 16) return launch_adapter_product<T, 2, Shares>(s, a, slots);
  if (a.ranks <= 32) return launch_adapter_product<T, 4, Shares>(s, a, slots);
  launch_adapter_product<T, 6, Shares>(s, a, slots);
}

}  // namespace lamina::kernel::cuda
