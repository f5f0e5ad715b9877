#pragma once
#include <lamina/kernel/cuda/mma.cuh>
#include <lamina/kernel/cuda/token_sums.cuh>

/// Gradients of an adapter's matrices: sums over all tokens of a wide row times a narrow one, bounded by reading the
/// wide matrix once.
namespace lamina::kernel::cuda {

/// part[split, c, j] = sum over the split's tokens m of wide[m,c] narrow[m,j], at c * c_step + j * j_step. At most 64
/// columns in narrow. Rows of wide lie in 16-byte pieces, its width is a multiple of 8.
template <class T>
struct TokenProduct {
  Matrix<const T> wide, narrow;
  float* part = nullptr;
  std::ptrdiff_t c_step = 0, j_step = 0;
  int tokens_per_split = 0;

  bool supported() const { return in_pieces(wide) && wide.cols % 8 == 0; }
};

/// A block: 128 columns of wide, 16 a warp, against all of narrow: Narrow blocks of 8 columns. Tokens come 32 a stage
/// through shared memory, Stages - 1 of them under way. Pieces of wide are swizzled (piece ^ token % 8) and rows of
/// narrow padded, so that reading 8 x 8 blocks has no bank conflicts.
template <class T, int Narrow, int Stages>
__global__ void __launch_bounds__(256) token_product(TokenProduct<T> p, bool narrow_in_pieces) {
  constexpr int tokens = 32, wide_cols = 128, narrow_cols = 16 * ((Narrow + 1) / 2), narrow_row = narrow_cols + 8;
  __shared__ __align__(16) T wide[Stages][tokens][wide_cols], narrow[Stages][tokens][narrow_row];
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, c0 = blockIdx.x * wide_cols;
  const int first = blockIdx.y * p.tokens_per_split, end = min(first + p.tokens_per_split, p.wide.rows);
  const auto load = [&](int stage, int m0) {
    for (int at = threadIdx.x; at < tokens * 16; at += 256) {
      const int m = at / 16, piece = at % 16, c = c0 + 8 * piece;
      const bool inside = m0 + m < end && c < p.wide.cols;
      copy_async(shared_address(&wide[stage][m][8 * (piece ^ m % 8)]), inside ? p.wide.row(m0 + m) + c : p.wide.data,
                 inside);
    }
    if (narrow_in_pieces) {
      const int m = threadIdx.x / 8, j = threadIdx.x % 8 * 8;
      const bool inside = m0 + m < end;
      if (j < p.narrow.cols)
        copy_async(shared_address(&narrow[stage][m][j]), inside ? p.narrow.row(m0 + m) + j : p.narrow.data, inside);
    } else {
      for (int at = threadIdx.x; at < tokens * p.narrow.cols; at += 256) {
        const int m = at / p.narrow.cols, j = at % p.narrow.cols;
        narrow[stage][m][j] = m0 + m < end ? p.narrow(m0 + m, j) : T{};
      }
    }
    commit_copies();
  };
  float sum[Narrow][4] = {};
  for (int i = 0; i < Stages - 1; ++i) load(i, first + i * tokens);
  int stage = 0;
  for (int m0 = first; m0 < end; m0 += tokens, stage = (stage + 1) % Stages) {
    wait_copies<Stages - 2>();
    __syncthreads();
    load((stage + Stages - 1) % Stages, m0 + (Stages - 1) * tokens);
#pragma unroll
    for (int k = 0; k < tokens; k += 16) {
      const int row = k + lane % 8 + lane / 16 * 8, piece = 2 * warp + lane / 8 % 2;
      unsigned a[4];
      load_blocks<true>(a, shared_address(&wide[stage][row][8 * (piece ^ row % 8)]));
#pragma unroll
      for (int j = 0; j < Narrow; j += 2) {
        unsigned b[4];
        load_blocks<true>(b, shared_address(&narrow[stage][k + lane % 16][8 * (j + lane / 16)]));
        mma<T>(sum[j], a, b[0], b[1]);
        if (j + 1 < Narrow) mma<T>(sum[j + 1 < Narrow ? j + 1 : j], a, b[2], b[3]);
      }
    }
  }
  float* part = p.part + std::ptrdiff_t{blockIdx.y} * p.wide.cols * p.narrow.cols;
  for (int v = 0; v < Narrow * 4; ++v) {
    const int c = c0 + 16 * warp + lane / 4 + v % 4 / 2 * 8, j = v / 4 * 8 + lane % 4 * 2 + v % 2;
    if (c < p.wide.cols && j < p.narrow.cols) part[c * p.c_step + j * p.j_step] = sum[v / 4][v % 4];
  }
}

/// dw += alpha * wide^T narrow; where by_narrow dw is its transpose.
template <class T>
void add_token_product(Stream<Cuda> s, const Matrix<const T>& wide, const Matrix<const T>& narrow, bool by_narrow,
                       float alpha, const Matrix<float>& dw) {
  constexpr int stages = 4, stage_tokens = 32;
  const int column_blocks = ceil_div(wide.cols, 128), blocks_wanted = 3 * s.device->multiprocessors();
  const int splits_wanted = std::clamp(blocks_wanted / column_blocks, 1, token_splits);
  TokenProduct<T> p{.wide = wide, .narrow = narrow};
  p.tokens_per_split = std::max(4, ceil_div(ceil_div(wide.rows, splits_wanted), stage_tokens)) * stage_tokens;
  p.c_step = by_narrow ? 1 : narrow.cols, p.j_step = by_narrow ? wide.cols : 1;
  const int splits = ceil_div(wide.rows, p.tokens_per_split);
  p.part = s.scratch->take<float>(static_cast<std::size_t>(splits) * wide.cols * narrow.cols);
  const dim3 grid(column_blocks, splits);
  const bool pieces = in_pieces(narrow);
  if (narrow.cols <= 8)
    token_product<T, 1, stages><<<grid, 256, 0, s.handle>>>(p, pieces);
  else if (narrow.cols <= 16)
    token_product<T, 2, stages><<<grid, 256, 0, s.handle>>>(p, pieces);
  else if (narrow.cols <= 32)
    token_product<T, 4, stages><<<grid, 256, 0, s.handle>>>(p, pieces);
  else
    token_product<T, 8, 3><<<grid, 256, 0, s.handle>>>(p, pieces);
  check_launch("token_product");
  add_up(s, p.part, splits, alpha, dw);
}

}  // namespace lamina::kernel::cuda
