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
/// Keeps a loaded vector in its register: g++ 12 else loads it again for every use, and the load units become the
/// limit.
#define LAMINA_IN_REGISTER(v) asm("" : "+x"(v))

/// Sixteen weights as fp32. Two bf16 share a 32-bit word: shifting gives those of even index, masking those of odd
/// index, which costs half of widening them in order; x is stored in the same order (see arrange_row).
LAMINA_AVX2 inline void load16(const bf16* p, __m256& first, __m256& second) {
  __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  LAMINA_IN_REGISTER(both);
  first = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
  second = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
template <class W>
LAMINA_AVX2 void load16(const W* p, __m256& first, __m256& second) {
  first = load8(p), second = load8(p + 8);
}

/// sum[m * N + n] += x[m] * w[n] in eight lanes, for M rows of x and N rows of w; depth is a multiple of 16. The
/// hardware's prefetch stops at the end of a page, where rows of weights often end too, so what is read next, `ahead`
/// elements on, is asked for here.
template <class W, int M, int N>
LAMINA_AVX2 void dot_block(const float* x, std::ptrdiff_t x_stride, const W* w, std::ptrdiff_t w_stride, int depth,
                           std::ptrdiff_t ahead, float* sums) {
  __m256 sum[M * N];
#pragma GCC unroll 16
  for (int i = 0; i < M * N; ++i) sum[i] = _mm256_loadu_ps(sums + 8 * i);
  for (int k = 0; k < depth; k += 16) {
    __m256 first[N], second[N];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n) {
      load16(w + n * w_stride + k, first[n], second[n]);
      _mm_prefetch(w + n * w_stride + k + ahead, _MM_HINT_T0);
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      __m256 x_first = _mm256_loadu_ps(x + m * x_stride + k), x_second = _mm256_loadu_ps(x + m * x_stride + k + 8);
      LAMINA_IN_REGISTER(x_first);
      LAMINA_IN_REGISTER(x_second);
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n) {
        sum[m * N + n] = _mm256_fmadd_ps(first[n], x_first, sum[m * N + n]);
        sum[m * N + n] = _mm256_fmadd_ps(second[n], x_second, sum[m * N + n]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M * N; ++i) _mm256_storeu_ps(sums + 8 * i, sum[i]);
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

/// Rows of x in the order in which dot_block reads them, and how many of their elements it reads.
struct ArrangedRows {
  const float* data;
  std::ptrdiff_t stride;
  int whole;
};
template <class W>
ArrangedRows arrange(Isa isa, const Gemm& g) {
  struct Arranged {};
  const int whole = isa == Isa::plain ? 0 : g.depth / 16 * 16;
  const std::ptrdiff_t stride =
      whole + 16;  // rows a power of two apart would evict each other from the first-level cache
  float* out = scratch<Arranged>(static_cast<std::size_t>(g.rows * stride));
  for (int m = 0; m < g.rows; ++m) arrange_row<W>(g.a.data + m * g.a.stride, whole, out + m * stride);
  return {out, stride, whole};
}

/// y[m .. m + M, n .. n + chunk * N] from the whole sixteens of x, arranged, and the rest of x as it is. x passes in
/// pieces that stay in the first-level cache.
template <class W, int M, int N, int Chunk>
void dot_chunk(const Gemm& g, ArrangedRows x, int m, int n) {
  const std::ptrdiff_t stride = g.b.w.stride;
  const W* w = static_cast<const W*>(g.b.w.data) + n * stride;
  float sum[Chunk * M * N][8] = {};
#if LAMINA_X86
  constexpr int piece = 2048 / M;
  for (int k = 0; k < x.whole; k += piece) {
    const int depth = std::min(piece, x.whole - k);
    const std::ptrdiff_t ahead = k + piece < x.whole ? piece : Chunk * N * stride - k;
    for (int c = 0; c < Chunk; ++c) {
      dot_block<W, M, N>(x.data + m * x.stride + k, x.stride, w + c * N * stride + k, stride, depth, ahead,
                         sum[c * M * N]);
    }
  }
#endif
  for (int i = 0; i < Chunk * M * N; ++i) {
    const int row = m + i / N % M, col = i / (M * N) * N + i % N;
    float total =
        ((sum[i][0] + sum[i][4]) + (sum[i][1] + sum[i][5])) + ((sum[i][2] + sum[i][6]) + (sum[i][3] + sum[i][7]));
    for (int k = x.whole; k < g.depth; ++k) total += g.a.data[row * g.a.stride + k] * to_f32(w[col * stride + k]);
    float& y = g.c[row * g.c_row + n + col];
    const float value = g.alpha * total + (g.bias ? g.bias[n + col] : 0.0f);
    y = g.beta == 0 ? value : value + g.beta * y;
  }
}

/// Columns [n, n + Chunk * N) of y: four rows of x at a time.
template <class W, int N, int Chunk>
void dot_columns(const Gemm& g, ArrangedRows x, int n) {
  int m = 0;
  for (; m + 4 <= g.rows; m += 4) dot_chunk<W, 4, N, Chunk>(g, x, m, n);
  if (g.rows - m == 3) dot_chunk<W, 3, N, Chunk>(g, x, m, n);
  if (g.rows - m == 2) dot_chunk<W, 2, N, Chunk>(g, x, m, n);
  if (g.rows - m == 1) dot_chunk<W, 1, N, Chunk>(g, x, m, n);
}

/// Columns [n, last) of C.
template <class W>
void dot_range(const Gemm& g, ArrangedRows x, int n, int last) {
  for (; n + 4 <= last; n += 4) dot_columns<W, 2, 2>(g, x, n);
  for (; n < last; ++n) dot_columns<W, 1, 1>(g, x, n);
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
