#pragma once
#include <lamina/core/quantization/matrix.hpp>
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/gemm/pack.hpp>
#include <lamina/kernel/cpu/gemm/tile.hpp>

#include <vector>

/// C = alpha A B + beta C + bias for every product of the library: panels of B, a register tile wide, are converted to
/// fp32 and packed into the first-level cache, and all rows of A pass over them. Each element of C is one chain of
/// fused multiply-adds in the order of k, so results depend neither on threads nor on how C is cut. By hand: Eigen's
/// product promises neither, and for bf16 weights it reached 14 GFLOP/s, or 92 on a copy in fp32; this one 134 (128 x
/// 2048 x 2048, one core of a Xeon). source: Goto & van de Geijn 2008, doi:10.1145/1356052.1356053, with one level of
/// blocking fewer, as A is used in place
namespace lamina::kernel::detail {

/// A buffer that lives as long as its thread and only grows, aligned to 64 bytes; one a Tag, so no two users share it.
template <class Tag>
float* scratch(std::size_t floats) {
  struct alignas(64) Line {
    float x[16];
  };
  static thread_local std::vector<Line> buffer;
  if (buffer.size() * 16 < floats) buffer.resize((floats + 15) / 16);
  return buffer.empty() ? nullptr : buffer[0].x;
}

/// A (rows, depth), row-major, or if transposed stored as (depth, rows).
struct LeftFactor {
  const float* data;
  std::ptrdiff_t stride;
  bool transposed = false;
};
/// B (depth, cols), row-major in any element type of a weight, or if transposed stored as (cols, depth).
struct RightFactor {
  Weight w;
  bool transposed = false;
};

struct Gemm {
  int rows, cols, depth;
  LeftFactor a;
  RightFactor b;
  float* c;
  std::ptrdiff_t c_row;
  float alpha = 1, beta = 0;
  const float* bias = nullptr;
};

/// A panel of B, 320 * 16 floats, and six rows of A share the 32 KB first-level cache; a block of A, 240 * 320 floats,
/// stays in the second.
inline constexpr int panel_depth = 320, block_rows = 240;

/// Copies rows [m, m + rows) and columns [k, k + depth) of A: row after row, or if A is transposed, for each strip
/// of tile.rows rows one k after the other. In place its rows, often a power of two apart, would evict each other.
inline void pack_left(const Tile& tile, const LeftFactor& a, int m, int rows, int k, int depth, float* out) {
  if (!a.transposed) {
    for (int r = 0; r < rows; ++r) std::copy_n(a.data + (m + r) * a.stride + k, depth, out + r * depth);
    return;
  }
  for (int r = 0; r < rows; r += tile.rows) {
    const float* from = a.data + k * a.stride + m + r;
    const int strip = std::min(tile.rows, rows - r);
    for (int i = 0; i < depth; ++i, from += a.stride, out += tile.rows) {
      int c = 0;
      for (; c + 2 <= strip; c += 2) std::memcpy(out + c, from + c, 2 * sizeof(float));
      if (c < strip) out[c] = from[c];
    }
  }
}

/// Packs those rows and columns of a B that is quantised.
inline void pack_quantized(const Tile& tile, const RightFactor& b, int k, int depth, int n, int cols, float* out) {
  alignas(64) float block[panel_depth * Tile::max_cols];
  const auto decode = [&](int row, int column, int count, float* to) {
    const QuantizedMatrix& part = part_of_row(b.w.quantized, row);
    part.decode(row, column, count, to);
  };
  if (b.transposed) {
    for (int j = 0; j < cols; ++j) decode(n + j, k, depth, block + j * depth);
    return pack_transposed(tile.isa, block, depth, depth, cols, out, tile.cols);
  }
  for (int i = 0; i < depth; ++i) decode(k + i, n, cols, block + i * cols);
  pack_straight(tile.isa, block, cols, depth, cols, out, tile.cols);
}
/// Packs the rows [k, k + depth) and columns [n, n + cols) of B.
inline void pack_panel(const Tile& tile, const RightFactor& b, int k, int depth, int n, int cols, float* out) {
  if (b.w.quantized) return pack_quantized(tile, b, k, depth, n, cols, out);
  const auto pack = [&](const auto* w) {
    if (b.transposed)
      pack_transposed(tile.isa, w + n * b.w.stride + k, b.w.stride, depth, cols, out, tile.cols);
    else
      pack_straight(tile.isa, w + k * b.w.stride + n, b.w.stride, depth, cols, out, tile.cols);
  };
  if (b.w.dtype == DType::BF16)
    pack(static_cast<const bf16*>(b.w.data));
  else if (b.w.dtype == DType::F16)
    pack(static_cast<const f16*>(b.w.data));
  else
    pack(static_cast<const float*>(b.w.data));
}

/// Rows [first, last) of C, panels [from, to) of its columns; first is a multiple of the tile's rows.
inline void gemm_block(const Tile& tile, const Gemm& g, int first, int last, int from, int to) {
  struct Left {};
  alignas(64) float panel[panel_depth * Tile::max_cols];
  float* left = scratch<Left>(block_rows * panel_depth);
  for (int m = first; m < last; m += block_rows) {
    const int rows = std::min(block_rows, last - m);
    for (int k = 0; k < std::max(g.depth, 1); k += panel_depth) {
      const int depth = std::min(panel_depth, g.depth - k);
      pack_left(tile, g.a, m, rows, k, depth, left);
      TileArgs t{.depth = depth,
                 .a_row = g.a.transposed ? 1 : depth,
                 .a_col = g.a.transposed ? tile.rows : 1,
                 .b = panel,
                 .c_row = g.c_row,
                 .alpha = g.alpha,
                 .beta = k == 0 ? g.beta : 1};
      for (int p = from; p < to; ++p) {
        const int n = p * tile.cols;
        t.cols = std::min(tile.cols, g.cols - n);
        t.bias = g.bias && k == 0 ? g.bias + n : nullptr;
        pack_panel(tile, g.b, k, depth, n, t.cols, panel);
        for (int r = 0; r < rows; r += tile.rows) {
          t.a = left + r * depth, t.c = g.c + (m + r) * g.c_row + n;
          tile.run[std::min(tile.rows, rows - r) - 1](t);
        }
      }
    }
  }
}

/// On the calling thread alone, for products inside a parallel loop.
inline void gemm_serial(const Tile& tile, const Gemm& g) {
  gemm_block(tile, g, 0, g.rows, 0, (g.cols + tile.cols - 1) / tile.cols);
}

/// Whether threads share out the panels of B, each packing all of A, or the rows of A, each packing all of B: whichever
/// takes the fewer cycles at 16 multiply-adds a cycle, a strided element of A costing about one to pack, others a
/// quarter.
inline bool splits_by_panels(const Tile& tile, const Gemm& g, int threads) {
  const double pack_a = g.a.transposed ? 1 : 0.25, pack_b = 0.25;
  const auto longest = [&](int size, int tile_size) {  // the largest share of a thread
    const int units = (size + tile_size - 1) / tile_size;
    return std::min(size, (units + threads - 1) / threads * tile_size);
  };
  const double rows = longest(g.rows, tile.rows), cols = longest(g.cols, tile.cols);
  return g.rows * cols / 16 + g.rows * pack_a + cols * pack_b <= rows * g.cols / 16 + rows * pack_a + g.cols * pack_b;
}

/// On all threads.
inline void gemm(const Tile& tile, const Gemm& g) {
  const int panels = (g.cols + tile.cols - 1) / tile.cols, strips = (g.rows + tile.rows - 1) / tile.rows;
  const int threads = thread_count();
  const bool by_panels = splits_by_panels(tile, g, threads);
  const int units = by_panels ? panels : strips, parts = std::min(units, threads);
  parallel_for(parts, [&](std::int64_t i) {
    const int from = static_cast<int>(i * units / parts), to = static_cast<int>((i + 1) * units / parts);
    if (by_panels)
      gemm_block(tile, g, 0, g.rows, from, to);
    else
      gemm_block(tile, g, from * tile.rows, std::min(g.rows, to * tile.rows), 0, panels);
  });
}

}  // namespace lamina::kernel::detail
