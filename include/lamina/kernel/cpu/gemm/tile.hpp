#pragma once
#include <lamina/kernel/cpu/simd.hpp>

#include <array>
#include <cstddef>
#include <utility>

/// The innermost loop of every product: a few rows of A against one packed panel of B, accumulated in registers.
namespace lamina::kernel::detail {

/// c (rows, cols) = alpha * a b + beta * c + bias, where a[r, k] = a[r * a_row + k * a_col] and b is packed: the tile's
/// full width of floats for each k. beta = 0 does not read c; a null bias is none.
struct TileArgs {
  int depth = 0;
  const float* a = nullptr;
  std::ptrdiff_t a_row = 0, a_col = 0;
  const float* b = nullptr;
  float* c = nullptr;
  std::ptrdiff_t c_row = 0;
  int cols = 0;
  float alpha = 1, beta = 0;
  const float* bias = nullptr;
};

/// One variant of the innermost loop. rows x cols is the register tile; run[r - 1] does r rows.
struct Tile {
  static constexpr int max_rows = 12, max_cols = 32;
  Isa isa;
  int rows, cols;
  std::array<void (*)(const TileArgs&), max_rows> run;
};

/// Adds a finished tile of sums to c: for ragged columns, and for CPUs without wide registers.
template <int R, int C>
void store_tile(const float (&sum)[R][C], const TileArgs& t) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    float* c = t.c + r * t.c_row;
    for (int j = 0; j < t.cols; ++j) {
      const float value = t.alpha * sum[r][j] + (t.bias ? t.bias[j] : 0.0f);
      c[j] = t.beta == 0 ? value : value + t.beta * c[j];
    }
  }
}

template <int R>
void tile_plain(const TileArgs& t) {
  constexpr int width = 8;
  float sum[R][width] = {};
  for (int k = 0; k < t.depth; ++k) {
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      for (int j = 0; j < width; ++j) sum[r][j] += t.a[r * t.a_row + k * t.a_col] * t.b[k * width + j];
    }
  }
  store_tile(sum, t);
}

#if LAMINA_X86
/// 6 x 16: twelve accumulators, two registers of B and one broadcast of A fill AVX2's sixteen.
template <int R>
LAMINA_AVX2 void tile_avx2(const TileArgs& t) {
  __m256 low[R], high[R];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    low[r] = high[r] = _mm256_setzero_ps();
    _mm_prefetch(t.c + r * t.c_row, _MM_HINT_T0);
  }
  const float *a = t.a, *b = t.b;
  for (int k = 0; k < t.depth; ++k, a += t.a_col, b += 16) {
    const __m256 b_low = _mm256_load_ps(b), b_high = _mm256_load_ps(b + 8);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const __m256 x = _mm256_broadcast_ss(a + r * t.a_row);
      low[r] = _mm256_fmadd_ps(x, b_low, low[r]);
      high[r] = _mm256_fmadd_ps(x, b_high, high[r]);
    }
  }
  if (t.cols < 16) {
    float sum[R][16];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) _mm256_storeu_ps(sum[r], low[r]), _mm256_storeu_ps(sum[r] + 8, high[r]);
    return store_tile(sum, t);
  }
  const __m256 alpha = _mm256_set1_ps(t.alpha), beta = _mm256_set1_ps(t.beta), zero = _mm256_setzero_ps();
  const __m256 bias_low = t.bias ? _mm256_loadu_ps(t.bias) : zero,
               bias_high = t.bias ? _mm256_loadu_ps(t.bias + 8) : zero;
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    float* c = t.c + r * t.c_row;
    low[r] = _mm256_fmadd_ps(alpha, low[r], bias_low), high[r] = _mm256_fmadd_ps(alpha, high[r], bias_high);
    if (t.beta != 0) {
      low[r] = _mm256_fmadd_ps(beta, _mm256_loadu_ps(c), low[r]);
      high[r] = _mm256_fmadd_ps(beta, _mm256_loadu_ps(c + 8), high[r]);
    }
    _mm256_storeu_ps(c, low[r]), _mm256_storeu_ps(c + 8, high[r]);
  }
}

/// 12 x 32 in AVX-512. With Pairs each 32-bit word of a and b holds two bf16, and one instruction adds both products;
/// without, no bf16 instruction is used, so any AVX-512 CPU may run it.
template <int R, bool Pairs>
LAMINA_AVX512_BF16 void tile_avx512(const TileArgs& t) {
  __m512 low[R], high[R];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) low[r] = high[r] = _mm512_setzero_ps();
  const float *a = t.a, *b = t.b;
  for (int k = 0; k < t.depth; ++k, a += t.a_col, b += 32) {
    const __m512 b_low = _mm512_load_ps(b), b_high = _mm512_load_ps(b + 16);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const __m512 x = _mm512_set1_ps(a[r * t.a_row]);
      if constexpr (Pairs) {
        low[r] = _mm512_dpbf16_ps(low[r], (__m512bh)x, (__m512bh)b_low);
        high[r] = _mm512_dpbf16_ps(high[r], (__m512bh)x, (__m512bh)b_high);
      } else {
        low[r] = _mm512_fmadd_ps(x, b_low, low[r]);
        high[r] = _mm512_fmadd_ps(x, b_high, high[r]);
      }
    }
  }
  float sum[R][32];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) _mm512_storeu_ps(sum[r], low[r]), _mm512_storeu_ps(sum[r] + 16, high[r]);
  store_tile(sum, t);
}
#endif

/// The variant for an instruction set that this CPU has.
inline const Tile& tile_for(Isa isa) {
  const auto each = []<std::size_t... R>(auto pick, std::index_sequence<R...>) {
    return std::array<void (*)(const TileArgs&), Tile::max_rows>{pick(std::integral_constant<int, R + 1>{})...};
  };
  static const Tile plain{Isa::plain, 4, 8, each([](auto r) { return &tile_plain<r>; }, std::make_index_sequence<4>{})};
#if LAMINA_X86
  static const Tile avx2{Isa::avx2, 6, 16, each([](auto r) { return &tile_avx2<r>; }, std::make_index_sequence<6>{})};
  static const Tile avx512{Isa::avx512, 12, 32,
                           each([](auto r) { return &tile_avx512<r, false>; }, std::make_index_sequence<12>{})};
  static const Tile pairs{Isa::avx512_bf16, 12, 32,
                          each([](auto r) { return &tile_avx512<r, true>; }, std::make_index_sequence<12>{})};
  if (isa == Isa::avx2) return avx2;
  if (isa == Isa::avx512) return avx512;
  if (isa == Isa::avx512_bf16) return pairs;
#endif
  return plain;
}

/// The best variant for fp32 products here.
inline const Tile& best_tile() {
  static const Tile& best = tile_for(cpu_supports(Isa::avx512) ? Isa::avx512
                                     : cpu_supports(Isa::avx2) ? Isa::avx2
                                                               : Isa::plain);
  return best;
}

}  // namespace lamina::kernel::detail
