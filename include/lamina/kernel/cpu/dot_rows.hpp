#pragma once
#include <lamina/core/param.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/gemm.hpp>

#include <type_traits>

/// y = x W^T for a few rows of x: decoding. Each weight is read once, as it lies, and the time is that of reading it.
namespace lamina::kernel::detail {

/// Most rows of x for which reading W in place beats packing it (bench/kernel/cpu_bench.cpp).
inline constexpr int dot_rows_limit = 8;

#if LAMINA_X86
/// Sixteen weights as fp32. Two bf16 share a 32-bit word: shifting gives those of even index, masking those of odd
/// index, which costs half of widening them in order; x is stored in the same order (see arrange_row).
LAMINA_AVX2 inline void load16(const bf16* p, __m256& first, __m256& second) {
  const __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  first = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
  second = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
template <class W>
LAMINA_AVX2 void load16(const W* p, __m256& first, __m256& second) {
  first = load8(p), second = load8(p + 8);
}

/// out[m * N + n] = x[m] . w[n] for M rows of x and N rows of w; depth is a multiple of 16. Rows of weights are short
/// beside a memory page, where the hardware's prefetch stops, so the rows after these are asked for on the way.
template <class W, int M, int N>
LAMINA_AVX2 void dot_block(const float* x, const W* w, std::ptrdiff_t w_stride, int depth, float* out) {
  __m256 sum[M * N];
#pragma GCC unroll 16
  for (int i = 0; i < M * N; ++i) sum[i] = _mm256_setzero_ps();
  for (int k = 0; k < depth; k += 16) {
    __m256 first[N], second[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      load16(w + n * w_stride + k, first[n], second[n]);
      _mm_prefetch(w + (n + N) * w_stride + k, _MM_HINT_T0);
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      const float* row = x + static_cast<std::ptrdiff_t>(m) * depth + k;
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        sum[m * N + n] = _mm256_fmadd_ps(first[n], _mm256_loadu_ps(row), sum[m * N + n]);
        sum[m * N + n] = _mm256_fmadd_ps(second[n], _mm256_loadu_ps(row + 8), sum[m * N + n]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M * N; ++i) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(sum[i]), _mm256_extractf128_ps(sum[i], 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    out[i] = _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
  }
}
#endif

/// The order in which load16 delivers the elements of a row; depth is a multiple of 16.
template <class W>
void arrange_row(const float* x, int depth, float* out) {
  constexpr bool split = std::is_same_v<W, bf16>;
  for (int k = 0; k < depth; k += 16) {
    for (int i = 0; i < 8; ++i)
      out[k + i] = x[k + (split ? 2 * i : i)], out[k + 8 + i] = x[k + (split ? 2 * i + 1 : i + 8)];
  }
}

/// y[m .. m + M, n .. n + N] from the whole sixteens of `arranged` (null: none) and the rest of x.
template <class W, int M, int N>
void dot_tile(const Gemm& g, const float* arranged, int whole, int m, int n) {
  const W* w = static_cast<const W*>(g.b.w.data) + n * g.b.w.stride;
  float sum[M * N] = {};
#if LAMINA_X86
  if (whole > 0) dot_block<W, M, N>(arranged + static_cast<std::ptrdiff_t>(m) * whole, w, g.b.w.stride, whole, sum);
#endif
  for (int i = 0; i < M * N; ++i) {
    const float* x = g.a.data + (m + i / N) * g.a.stride;
    const W* row = w + i % N * g.b.w.stride;
    for (int k = whole; k < g.depth; ++k) sum[i] += x[k] * to_f32(row[k]);
    float& y = g.c[(m + i / N) * g.c_row + n + i % N];
    const float value = g.alpha * sum[i] + (g.bias ? g.bias[n + i % N] : 0.0f);
    y = g.beta == 0 ? value : value + g.beta * y;
  }
}

/// Columns [n, n + N) of y: four rows of x at a time, so a weight that came from memory is used by all of them at once.
template <class W, int N>
void dot_columns(const Gemm& g, const float* arranged, int whole, int n) {
  int m = 0;
  for (; m + 4 <= g.rows; m += 4) dot_tile<W, 4, N>(g, arranged, whole, m, n);
  if (g.rows - m == 3) dot_tile<W, 3, N>(g, arranged, whole, m, n);
  if (g.rows - m == 2) dot_tile<W, 2, N>(g, arranged, whole, m, n);
  if (g.rows - m == 1) dot_tile<W, 1, N>(g, arranged, whole, m, n);
}

/// Rows of x in the order in which dot_block reads them, and how many of their elements it reads.
struct ArrangedRows {
  const float* data;
  int whole;
};
template <class W>
ArrangedRows arrange(Isa isa, const Gemm& g) {
  struct Arranged {};
  const int whole = isa == Isa::plain ? 0 : g.depth / 16 * 16;
  float* out = scratch<Arranged>(static_cast<std::size_t>(g.rows) * whole);
  for (int m = 0; m < g.rows; ++m) arrange_row<W>(g.a.data + m * g.a.stride, whole, out + std::ptrdiff_t{m} * whole);
  return {out, whole};
}

/// Columns [n, last) of C.
template <class W>
void dot_range(const Gemm& g, ArrangedRows x, int n, int last) {
  if (g.rows == 1) {
    for (; n + 4 <= last; n += 4) dot_columns<W, 4>(g, x.data, x.whole, n);
  }
  for (; n + 2 <= last; n += 2) dot_columns<W, 2>(g, x.data, x.whole, n);
  if (n < last) dot_columns<W, 1>(g, x.data, x.whole, n);
}

/// C = alpha A B + beta C + bias where A has few rows and B is a transposed weight of element type W.
template <class W>
void dot_rows(Isa isa, const Gemm& g) {
  const ArrangedRows x = arrange<W>(isa, g);
  const int parts = std::min(thread_count(), (g.cols + 31) / 32);
  parallel_for(parts, [&](std::int64_t i) {
    dot_range<W>(g, x, static_cast<int>(i * g.cols / parts), static_cast<int>((i + 1) * g.cols / parts));
  });
}

/// The same on the calling thread alone.
template <class W>
void dot_rows_serial(Isa isa, const Gemm& g) {
  dot_range<W>(g, arrange<W>(isa, g), 0, g.cols);
}

}  // namespace lamina::kernel::detail
