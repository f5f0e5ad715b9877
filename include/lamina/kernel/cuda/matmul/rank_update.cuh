#pragma once
#include <lamina/kernel/cuda/device/mma.cuh>

/// y = alpha * h p^T + bias + beta * y with few columns in h: an adapter's outer product, bounded by reading and
/// writing y once.
namespace lamina::kernel::cuda {

/// h (M, R), p (N, R), y (M, N); R at most 64. Rows of p start at multiples of 16 bytes and are followed by zeros up to
/// a multiple of 16 elements; rows of y consist of 16-byte pieces.
template <class T>
struct RankUpdate {
  Matrix<const T> h, p;
  Matrix<T> y;
  const T* bias = nullptr;
  float alpha = 1, beta = 0;

  bool supported() const { return in_pieces(y) && y.cols % 8 == 0; }
};

/// Elements j, j+1 of a row of r elements as one fragment word; zero beyond its end.
template <class T>
__device__ unsigned pair_at(const T* row, int j, int r, bool aligned) {
  if (aligned && j + 1 < r) return *reinterpret_cast<const unsigned*>(row + j);
  return (j < r ? row[j].bits : 0u) | (j + 1 < r ? row[j + 1].bits : 0u) << 16;
}

/// A warp has 32 columns and keeps their part of p in registers: K16 blocks of 16 ranks. It goes down `rows_per_block`
/// rows, 16 Ahead at a time. Column 8 (g / 2) + 2 q + g % 2 is column g of fragment q: so a lane owns 8 neighbours of
/// y.
template <class T, int K16, int Ahead, int Warps>
__global__ void __launch_bounds__(Warps* warp_size) rank_update(RankUpdate<T> a, int rows_per_block) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, g = lane / 4, t = lane % 4;
  const int n0 = (blockIdx.x * Warps + warp) * 32, n = n0 + 8 * t, r = a.h.cols;
  if (n0 >= a.y.cols) return;
  unsigned p[4][K16][2];
  for (int q = 0; q < 4; ++q) {
    const T* row = a.p.row(min(n0 + 8 * (g / 2) + 2 * q + g % 2, a.p.rows - 1));
    for (int k = 0; k < K16; ++k) {
      for (int i = 0; i < 2; ++i)
        p[q][k][i] = 16 * k < r ? *reinterpret_cast<const unsigned*>(row + 16 * k + 2 * t + 8 * i) : 0u;
    }
  }
  float bias[8] = {};
  for (int i = 0; a.bias && i < 8; ++i) bias[i] = n + i < a.y.cols ? widen(a.bias[n + i]) : 0.0f;
  const bool aligned = reinterpret_cast<std::uintptr_t>(a.h.data) % 4 == 0 && a.h.stride % 2 == 0;
  const int first = blockIdx.y * rows_per_block, end = min(first + rows_per_block, a.y.rows);
  for (int m0 = first; m0 < end; m0 += 16 * Ahead) {
    uint4 before[2 * Ahead];
    unsigned h[Ahead][K16][4];
#pragma unroll
    for (int i = 0; i < 2 * Ahead; ++i) {
      const int m = m0 + 8 * i + g;
      if (a.beta != 0 && m < end && n < a.y.cols) before[i] = *reinterpret_cast<const uint4*>(a.y.row(m) + n);
      const T* row = a.h.row(min(m, a.h.rows - 1));
#pragma unroll
      for (int k = 0; k < K16; ++k) {
        h[i / 2][k][i % 2] = pair_at(row, 16 * k + 2 * t, r, aligned);
        h[i / 2][k][2 + i % 2] = pair_at(row, 16 * k + 2 * t + 8, r, aligned);
      }
    }
#pragma unroll
    for (int i = 0; i < Ahead; ++i) {
      float sum[4][4] = {};
      for (int q = 0; q < 4; ++q) {
        for (int k = 0; k < K16; ++k) mma<T>(sum[q], h[i][k], p[q][k][0], p[q][k][1]);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int m = m0 + 16 * i + 8 * half + g;
        if (m >= end || n >= a.y.cols) continue;
        float y[8];
        load_piece(reinterpret_cast<const T*>(&before[2 * i + half]), y);
        for (int c = 0; c < 8; ++c) {
          const float value = a.alpha * sum[c / 2][2 * half + c % 2] + bias[c];
          y[c] = a.beta == 0 ? value : value + a.beta * y[c];
        }
        store_piece(a.y.row(m) + n, y);
      }
    }
  }
}

template <class T>
void update(Stream<Cuda> s, const RankUpdate<T>& a) {
  constexpr int warps = 8, rows_per_block = 128;
  const dim3 grid(ceil_div(a.y.cols, 32 * warps), ceil_div(a.y.rows, rows_per_block));
  const int k16 = ceil_div(a.h.cols, 16);
  if (k16 <= 1)
    rank_update<T, 1, 4, warps><<<grid, warps * warp_size, 0, s.handle>>>(a, rows_per_block);
  else if (k16 == 2)
    rank_update<T, 2, 2, warps><<<grid, warps * warp_size, 0, s.handle>>>(a, rows_per_block);
  else
    rank_update<T, 4, 2, warps><<<grid, warps * warp_size, 0, s.handle>>>(a, rows_per_block);
  check_launch("rank_update");
}

}  // namespace lamina::kernel::cuda
