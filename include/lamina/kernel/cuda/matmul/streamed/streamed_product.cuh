#pragma once
#include <lamina/kernel/cuda/device/dependent_launch.cuh>
#include <lamina/kernel/cuda/device/mma.cuh>

/// Products of one large matrix with a few rows, bounded by reading the large one once: decode (the weight is large,
/// the tokens are few) and the inner products of an adapter (the tokens are many, the rank is small).
namespace lamina::kernel::cuda {

/// Reads 16 bytes that are read once: they pass by L1.
__device__ inline uint4 load_once(const void* from) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

/// out[z,s] = alpha * sum_k large[z,k] small[s,k] + bias[z] + beta * out[z,s]; out is stored (z, s), or (s, z).
/// Rows of both factors consist of 16-byte pieces, depth is a multiple of 8.
template <class T>
struct StreamedProduct {
  Matrix<const T> large, small;
  T* out = nullptr;
  std::ptrdiff_t z_step = 0, s_step = 0;
  const T* bias = nullptr;
  float alpha = 1, beta = 0;

  bool supported() const { return in_pieces(large) && in_pieces(small) && large.cols % 8 == 0; }
};

/// Tiles: 16 Small rows of `small` against 8 Large rows of `large`, one block. Its warps take turns over blocks of 32
/// k: lane 4 g + t holds k = 8t .. 8t+7 of rows g, in 16-byte loads, and calls them k = 2t, 2t+1, 2t+8, 2t+9 of two
/// products: the order of k does not matter as long as both factors keep it. Ahead blocks are loaded before the first
/// is used; if LargeIsReady, no kernel just before writes `large`, the first of them before that kernel has ended.
/// The warps' sums are added in order.
template <class T, int Small, int Large, int Ahead, int Warps, bool LargeIsReady>
__global__ void __launch_bounds__(Warps* warp_size) streamed_product(StreamedProduct<T> p) {
  constexpr int step = 32, stride = Warps * step * Ahead, values = Small * Large * 4;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, g = lane / 4, t = lane % 4;
  const int z0 = blockIdx.x * 8 * Large, depth = p.large.cols;
  const bool both_halves = Small > 1 || p.small.rows > 8;
  const T *large[Large], *small[2 * Small];
  for (int i = 0; i < Large; ++i) large[i] = p.large.row(min(z0 + 8 * i + g, p.large.rows - 1)) + 8 * t;
  for (int i = 0; i < 2 * Small; ++i) small[i] = p.small.row(min(8 * i + g, p.small.rows - 1)) + 8 * t;
  uint4 l[Ahead][Large];
  const auto load_large = [&](int k0) {
#pragma unroll
    for (int a = 0; a < Ahead; ++a) {
      const int k = k0 + a * step;
#pragma unroll
      for (int i = 0; i < Large; ++i) l[a][i] = k + 8 * t < depth ? load_once(large[i] + k) : uint4{};
    }
  };
  let_next_start();
  if constexpr (LargeIsReady) load_large(warp * step * Ahead);
  wait_for_earlier();
  if constexpr (!LargeIsReady) load_large(warp * step * Ahead);
  float sum[Small][Large][4] = {};
  for (int k0 = warp * step * Ahead; k0 < depth; k0 += stride, load_large(k0)) {
    uint4 s[Ahead][2 * Small];
#pragma unroll
    for (int a = 0; a < Ahead; ++a) {
      const int k = k0 + a * step;
#pragma unroll
      for (int i = 0; i < 2 * Small; ++i)
        s[a][i] =
            k + 8 * t < depth && (i % 2 == 0 || both_halves) ? *reinterpret_cast<const uint4*>(small[i] + k) : uint4{};
    }
#pragma unroll
    for (int a = 0; a < Ahead; ++a) {
#pragma unroll
      for (int i = 0; i < Small; ++i) {
        const uint4 lo = s[a][2 * i], hi = s[a][2 * i + 1];
        const unsigned first[4] = {lo.x, hi.x, lo.y, hi.y}, second[4] = {lo.z, hi.z, lo.w, hi.w};
#pragma unroll
        for (int j = 0; j < Large; ++j) {
          mma<T>(sum[i][j], first, l[a][j].x, l[a][j].y);
          mma<T>(sum[i][j], second, l[a][j].z, l[a][j].w);
        }
      }
    }
  }
  // in rounds, so that the sums fit the 48 KiB of shared memory that every architecture gives without asking
  constexpr int rounds = Warps * values * warp_size * 4 > (48 << 10) ? 2 : 1, each = values / rounds;
  __shared__ float part[Warps][each][warp_size];
#pragma unroll
  for (int round = 0; round < rounds; ++round) {
    if (round > 0) __syncthreads();
#pragma unroll
    for (int k = 0; k < each; ++k) {
      const int v = round * each + k;
      part[warp][k][lane] = sum[v / (4 * Large)][v / 4 % Large][v % 4];
    }
    __syncthreads();
    for (int at = threadIdx.x; at < each * warp_size; at += Warps * warp_size) {
      const int k = at / warp_size, v = round * each + k, row = lane / 4 + v % 4 / 2 * 8, col = lane % 4 * 2 + v % 2;
      const int s = 16 * (v / (4 * Large)) + row, z = z0 + v / 4 % Large * 8 + col;
      if (s >= p.small.rows || z >= p.large.rows) continue;
      float total = 0;
      for (int w = 0; w < Warps; ++w) total += part[w][k][lane];
      total = p.alpha * total + (p.bias ? widen(p.bias[z]) : 0.0f);
      T& out = p.out[z * p.z_step + s * p.s_step];
      out = narrow<T>(p.beta == 0 ? total : total + p.beta * widen(out));
    }
  }
}

template <int Small, int Large, int Ahead, int Warps, bool LargeIsReady, class T>
void launch_streamed(Stream<Cuda> s, const StreamedProduct<T>& p) {
  launch_dependent(s, streamed_product<T, Small, Large, Ahead, Warps, LargeIsReady>, ceil_div(p.large.rows, 8 * Large),
                   Warps * warp_size, p);
  check_launch("streamed_product");
}
/// A weight against at most 16 rows of tokens. large_is_ready: no kernel just before writes the weight.
template <class T>
void streamed_weight(Stream<Cuda> s, const StreamedProduct<T>& p, bool large_is_ready) {
  if (large_is_ready) return launch_streamed<1, 1, 4, 8, true>(s, p);
  launch_streamed<1, 1, 4, 8, false>(s, p);
}
/// Many tokens against at most 64 rows of an adapter.
template <class T>
void streamed_tokens(Stream<Cuda> s, const StreamedProduct<T>& p) {
  if (p.small.rows <= 16) return launch_streamed<1, 2, 2, 8, false>(s, p);
  if (p.small.rows <= 32) return launch_streamed<2, 8, 1, 8, false>(s, p);
  launch_streamed<4, 8, 1, 4, false>(s, p);
}

}  // namespace lamina::kernel::cuda
