#pragma once
#include <limits>

#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/device/mma.cuh>
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>
#include <lamina/kernel/matmul/add_adapters.hpp>

/// The rest of a product that was one with A. With few rows, of which each may have another adapter, a warp asks for
/// the B of several slots at once while the product still runs; with many, for those alone that its rows have.
namespace lamina::kernel::cuda {

/// AdaptedProduct as the kernels see it.
template <class T>
struct AdaptedRows {
  Matrix<const T> h, b;
  Matrix<T> y;
  const T* bias;
  const int* slots;
  float beta;
  int slot_stride, slot_count, outputs, rank, ranks;
  int ends[RowTerms::most_parts];  ///< columns at which parts end; INT_MAX from the last part on

  explicit AdaptedRows(const AdaptedProduct<T>& a)
      : h(a.h),
        b(static_cast<const T*>(a.adapters.b.data), a.adapters.b.rows, a.adapters.b.cols, a.adapters.b.stride),
        y(a.y),
        bias(a.bias),
        slots(a.slots),
        beta(a.beta),
        slot_stride(a.slot_stride),
        slot_count(a.adapters.slots),
        outputs(a.outputs()),
        rank(a.adapters.rank),
        ranks(a.adapters.ranks()) {
    std::fill(std::begin(ends), std::end(ends), std::numeric_limits<int>::max());
    for (int part = 0, end = 0; part + 1 < a.adapters.parts; ++part)
      ends[part] = end += a.adapters.widths[static_cast<std::size_t>(part)];
  }
  __device__ int slot(int row) const { return slots[static_cast<std::ptrdiff_t>(row) * slot_stride]; }
  /// t of a row and of the part that has a column.
  __device__ const T* t(int row, int slot, int column) const {
    static_assert(RowTerms::most_parts == 4);
    const int part = (column >= ends[0]) + (column >= ends[1]) + (column >= ends[2]);
    return h.row(row) + outputs + slot * ranks + part * rank;
  }
  __device__ const T* b_row(int slot, int column) const {
    return b.row(static_cast<std::ptrdiff_t>(slot) * outputs + column);
  }
};

/// 16 rows and 32 columns of z, a warp's: lane 4 g + t has columns 8t .. 8t+7 of rows g and g+8. The ranks of B and t
/// that a lane calls 2t, 2t+1, 2t+8, 2t+9 of 16 are 4t .. 4t+3: their order does not matter as long as both keep it.
template <class T, int AtOnce>
struct AdaptedTile {
  static constexpr int rows = 16, columns = 32, at_once = AtOnce;  ///< slots whose B is asked for together
  static constexpr bool early = at_once > 1;
  const AdaptedRows<T>& a;
  int column;
  uint2 b[at_once][4];
  float z[4][4];

  __device__ AdaptedTile(const AdaptedRows<T>& rows, int first) : a(rows), column(first) {
    if (early) load_b(0, 0);
  }
  __device__ void load_b(int slot, int r) {
    const int g = lane_id() / 4, own = g / 2 * 8 + g % 2;
#pragma unroll
    for (int i = 0; i < at_once; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        b[i][j] = *reinterpret_cast<const uint2*>(a.b_row(min(slot + i, a.slot_count - 1), column + own + 2 * j) + r +
                                                  lane_id() % 4 * 4);
  }
  __device__ void load_base(const int (&row)[2]) {
    float bias[8] = {};
    if (a.bias) load_elements(a.bias + own_column(), bias);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float base[8];
      load_elements(a.h.row(row[half]) + own_column(), base);
#pragma unroll
      for (int e = 0; e < 8; ++e) z[e / 2][2 * half + e % 2] = base[e] + bias[e];
    }
  }
  /// z += B t, of 16 ranks from r on and the slots from `slot` on.
  __device__ void add(const uint2 (&t)[2], const int (&own)[2], int slot, int r) {
    if (early && (slot > 0 || r > 0)) load_b(slot, r);
#pragma unroll
    for (int i = 0; i < at_once; ++i) {
      const bool low = own[0] == slot + i, high = own[1] == slot + i;
      if (!__any_sync(0xffffffffu, low || high)) continue;
      if (!early) load_b(slot, r);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        mma<T>(z[j], {low ? t[0].x : 0, high ? t[1].x : 0, low ? t[0].y : 0, high ? t[1].y : 0}, b[i][j].x, b[i][j].y);
    }
  }
  __device__ int own_column() const { return column + lane_id() % 4 * 8; }
};

/// Grid: pairs of warps; 16 rows each.
template <class T, int AtOnce, bool Gated>
__global__ void __launch_bounds__(2 * warp_size) adapted_product(AdaptedRows<T> a) {
  using Tile = AdaptedTile<T, AtOnce>;
  constexpr int parts = Gated ? 2 : 1;
  const int column = (static_cast<int>(blockIdx.x) * 2 + static_cast<int>(threadIdx.x) / warp_size) * Tile::columns;
  const int first = static_cast<int>(blockIdx.y) * Tile::rows + lane_id() / 4, last = a.h.rows - 1;
  if (column >= a.y.cols) return start_early(a.h.rows);
  Tile tiles[2] = {Tile(a, column), Tile(a, column + (Gated ? a.y.cols : 0))};  // not gated: the second is not used
  start_early(a.h.rows);
  const int row[2] = {min(first, last), min(first + 8, last)}, own[2] = {a.slot(row[0]), a.slot(row[1])};
#pragma unroll
  for (int i = 0; i < parts; ++i) tiles[i].load_base(row);
  for (int r = 0; r < a.rank; r += 16) {
    uint2 t[parts][2];
#pragma unroll
    for (int i = 0; i < parts; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        t[i][half] =
            *reinterpret_cast<const uint2*>(a.t(row[half], max(own[half], 0), tiles[i].column) + r + lane_id() % 4 * 4);
    for (int slot = 0; slot < a.slot_count; slot += Tile::at_once) {
#pragma unroll
      for (int i = 0; i < parts; ++i) tiles[i].add(t[i], own, slot, r);
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (first + 8 * half > last) continue;
    T* const to = a.y.row(row[half]) + tiles[0].own_column();
    float out[8], before[8] = {};
    if (!Gated && a.beta != 0) load_elements(to, before);
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const float z = tiles[0].z[e / 2][2 * half + e % 2];
      if constexpr (Gated)
        out[e] = z / (1 + __expf(-z)) * tiles[1].z[e / 2][2 * half + e % 2];
      else
        out[e] = z + a.beta * before[e];
    }
    store_elements(to, out);
  }
}

/// One row per block, for any shape and fp32: sums of products as the formula has them.
template <class T, bool Gated>
__global__ void __launch_bounds__(8 * warp_size) adapted_row(AdaptedRows<T> a) {
  start_early(a.h.rows);
  const int row = static_cast<int>(blockIdx.x), slot = a.slot(row);
  const auto z = [&](int o) {
    float sum = widen(a.h(row, o)) + (a.bias ? widen(a.bias[o]) : 0.0f);
    for (int r = 0; slot >= 0 && r < a.rank; ++r) sum += widen(a.b_row(slot, o)[r]) * widen(a.t(row, slot, o)[r]);
    return sum;
  };
  for (int o = static_cast<int>(threadIdx.x); o < a.y.cols; o += static_cast<int>(blockDim.x)) {
    float out = z(o);
    if (Gated)
      out = out / (1 + expf(-out)) * z(o + a.y.cols);
    else if (a.beta != 0)
      out += a.beta * widen(a.y(row, o));
    a.y(row, o) = narrow<T>(out);
  }
}

/// Whether a warp's columns are of one part, and what lanes read and write is in pieces.
template <class T>
bool takes_tensor_cores(const AdaptedRows<T>& a, int parts) {
  constexpr int columns = AdaptedTile<T, 1>::columns;
  bool whole = a.rank % 16 == 0 && a.y.cols % columns == 0 && in_pieces(a.h) && in_pieces(a.b) && in_pieces(a.y) &&
               is_aligned(a.bias);
  for (int part = 0; part + 1 < parts; ++part) whole = whole && a.ends[part] % columns == 0;
  return whole;
}

template <bool Gated, int AtOnce, class T>
void launch_adapted_tiles(Stream<Cuda> s, const AdaptedRows<T>& a) {
  using Tile = AdaptedTile<T, AtOnce>;
  const dim3 grid(ceil_div(a.y.cols, 2 * Tile::columns), ceil_div(a.h.rows, Tile::rows));
  launch_dependent(s, adapted_product<T, AtOnce, Gated>, grid, 2 * warp_size, a);
  check_launch("adapted_product");
}
template <bool Gated, class T>
void launch_adapted_product(Stream<Cuda> s, const AdaptedRows<T>& a, bool whole) {
  constexpr int few_rows = 64;
  if constexpr (!std::is_same_v<T, float>)
    if (whole) return a.h.rows > few_rows ? launch_adapted_tiles<Gated, 1>(s, a) : launch_adapted_tiles<Gated, 8>(s, a);
  launch_dependent(s, adapted_row<T, Gated>, dim3(a.h.rows), 8 * warp_size, a);
  check_launch("adapted_row");
}

}  // namespace lamina::kernel::cuda
