#pragma once
#include <lamina/core/grouped.hpp>
#include <lamina/kernel/cuda/device/mma.cuh>

/// The tile of a product that a block of grouped_matmul computes: 64 x 64 outputs, sums over 64 at a time.
namespace lamina::kernel::cuda {

inline constexpr int group_tile = 64, group_threads = 128;

/// A matrix of any element type in pieces of elements of T; zeros beyond its extents.
template <class T>
struct PieceSource {
  const void* data;
  DType dtype;
  std::ptrdiff_t stride;
  int rows, cols;
  bool whole;  ///< elements are T, and 16-byte accesses may start at each piece

  explicit PieceSource(const Matrix<const T>& m)
      : data(m.data), dtype(dtype_of<T>), stride(m.stride), rows(m.rows), cols(m.cols), whole(in_pieces(m)) {}
  PieceSource(const Weight& w, std::ptrdiff_t step_bytes)
      : data(w.data),
        dtype(w.dtype),
        stride(w.stride),
        rows(w.rows),
        cols(w.cols),
        whole(w.dtype == dtype_of<T> && is_aligned(w.data) && step_bytes % 16 == 0 &&
              w.stride % piece_elements<T> == 0) {}

  __device__ float at(int r, int c) const {
    const std::ptrdiff_t i = r * stride + c;
    if (dtype == DType::BF16) return widen(static_cast<const bf16*>(data)[i]);
    if (dtype == DType::F16) return widen(static_cast<const f16*>(data)[i]);
    return static_cast<const float*>(data)[i];
  }
  __device__ uint4 piece(int r, int c) const {
    constexpr int n = piece_elements<T>;
    if (r >= rows || c >= cols) return {};
    if (whole && c + n <= cols) return *reinterpret_cast<const uint4*>(static_cast<const T*>(data) + r * stride + c);
    float x[n];
#pragma unroll
    for (int i = 0; i < n; ++i) x[i] = c + i < cols ? at(r, c + i) : 0.0f;
    return narrow_piece<T>(x);
  }
};

/// Both factors of a step in shared memory, and this thread's outputs. A factor "by depth" is stored with a row for
/// each term of the sum, else with a row for each row, or column, of the output.
template <class T>
struct GroupTile {
  using Rows = SharedTile<group_tile>;
  static constexpr int factor_bytes = Rows::bytes(group_tile);
  float c[2][4][4];

  __device__ GroupTile() { clear(c); }
  __device__ static void put(unsigned char* factor, int row, int piece, uint4 values) {
    *reinterpret_cast<uint4*>(factor + Rows::at(0, row, piece)) = values;
  }
  template <bool LeftByDepth, bool RightByDepth>
  __device__ void add(const unsigned char* left, const unsigned char* right) {
    constexpr int steps = group_tile / 16;
    const unsigned a = shared_address(left), b = shared_address(right);
    const auto with_left = [&](const auto& operand) {
      if constexpr (RightByDepth)
        multiply<T, steps>(c, operand, operand_b_transposed<group_tile>(b, 0, warp_column() / 8));
      else
        multiply<T, steps>(c, operand, operand_b<group_tile>(b, warp_column()));
    };
    if constexpr (LeftByDepth)
      with_left(operand_a_transposed<group_tile>(a, 0, warp_row() / 8));
    else
      with_left(operand_a<group_tile>(a, warp_row()));
  }
  /// f(row, column, value) of each of this thread's outputs.
  template <class F>
  __device__ void each(F f) const {
    const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          f(warp_row() + 16 * m + g + i / 2 * 8, warp_column() + 8 * n + 2 * t + i % 2, c[m][n][i]);
  }

 private:
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / warp_size; }
  __device__ static int warp_row() { return warp() / 2 * 32; }
  __device__ static int warp_column() { return warp() % 2 * 32; }
};

/// fp32 factors are not rounded, so tensor cores do not serve.
template <>
struct GroupTile<float> {
  static constexpr int stride = group_tile + 1, factor_bytes = group_tile * stride * static_cast<int>(sizeof(float));
  static constexpr int rows_each = 8, columns_each = 4;  ///< rows 8 apart, columns 16 apart
  float c[rows_each][columns_each] = {};

  __device__ static void put(unsigned char* factor, int row, int piece, uint4 values) {
    widen_piece<float>(values, reinterpret_cast<float*>(factor) + row * stride + piece * 4);
  }
  template <bool LeftByDepth, bool RightByDepth>
  __device__ void add(const unsigned char* left, const unsigned char* right) {
    const float *const a = reinterpret_cast<const float*>(left), *const b = reinterpret_cast<const float*>(right);
    for (int k = 0; k < group_tile; ++k) {
      float x[rows_each], y[columns_each];
#pragma unroll
      for (int i = 0; i < rows_each; ++i) x[i] = a[LeftByDepth ? k * stride + row(i) : row(i) * stride + k];
#pragma unroll
      for (int j = 0; j < columns_each; ++j) y[j] = b[RightByDepth ? k * stride + column(j) : column(j) * stride + k];
#pragma unroll
      for (int i = 0; i < rows_each; ++i)
#pragma unroll
        for (int j = 0; j < columns_each; ++j) c[i][j] += x[i] * y[j];
    }
  }
  template <class F>
  __device__ void each(F f) const {
#pragma unroll
    for (int i = 0; i < rows_each; ++i)
#pragma unroll
      for (int j = 0; j < columns_each; ++j) f(row(i), column(j), c[i][j]);
  }

 private:
  __device__ static int row(int i) { return static_cast<int>(threadIdx.x) / 16 + 8 * i; }
  __device__ static int column(int j) { return static_cast<int>(threadIdx.x) % 16 + 16 * j; }
};

/// Sums left times right over `depth` terms: left(row, first element), right(row, first element) give the pieces of a
/// factor's rows, `term` terms from its begin. The next step's pieces are on their way while one is multiplied.
template <class T, bool LeftByDepth, bool RightByDepth, class Left, class Right>
__device__ GroupTile<T> sum_tile(int depth, Left left, Right right) {
  using Tile = GroupTile<T>;
  constexpr int per_row = group_tile / piece_elements<T>, each = group_tile * per_row / group_threads;
  __shared__ __align__(1024) unsigned char a[Tile::factor_bytes], b[Tile::factor_bytes];
  Tile tile;
  uint4 next_a[each], next_b[each];
  const auto place = [&](int i, int& row, int& piece) {
    const int at = i * group_threads + static_cast<int>(threadIdx.x);
    row = at / per_row, piece = at % per_row;
  };
  const auto load = [&](int term) {
#pragma unroll
    for (int i = 0; i < each; ++i) {
      int row, piece;
      place(i, row, piece);
      const int element = piece * piece_elements<T>;
      next_a[i] = LeftByDepth ? left(term + row, element) : left(row, term + element);
      next_b[i] = RightByDepth ? right(term + row, element) : right(row, term + element);
    }
  };
  if (depth > 0) load(0);
  for (int term = 0; term < depth; term += group_tile) {
#pragma unroll
    for (int i = 0; i < each; ++i) {
      int row, piece;
      place(i, row, piece);
      Tile::put(a, row, piece, next_a[i]), Tile::put(b, row, piece, next_b[i]);
    }
    __syncthreads();
    if (term + group_tile < depth) load(term + group_tile);
    tile.template add<LeftByDepth, RightByDepth>(a, b);
    __syncthreads();
  }
  return tile;
}

/// The rows of a block: 64 of a group, or none. Group g owns the blocks from begin(g) / 64 + g on, never fewer than it
/// has tiles, so that a block finds its group by bisection, and rows / 64 + groups blocks are enough.
struct GroupRows {
  int group = -1, first = 0, end = 0;
  __device__ GroupRows(const RowGroups& groups, int block) {
    const auto begin = [&](int g) { return g == 0 ? 0 : groups.ends[g - 1]; };
    int low = 0, high = groups.count;  // block_of(low) <= block < block_of(high)
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (begin(middle) / group_tile + middle <= block ? low : high) = middle;
    }
    first = begin(low) + (block - begin(low) / group_tile - low) * group_tile, end = groups.ends[low];
    if (first < end) group = low;
  }
  static int blocks(int rows, int groups) { return rows / group_tile + groups; }
};

}  // namespace lamina::kernel::cuda
