#pragma once
#include <lamina/core/tensor/param.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/kernel/cpu/gemm/gemm.hpp>

#include <type_traits>

/// y = x W^T for a few rows of x: decoding. Each weight is read once, as it is stored, and the time is that of reading
/// it.
namespace lamina::kernel::detail {

/// Most rows of x for which reading W in place beats packing it (bench/kernel/cpu_bench.cpp).
inline constexpr int dot_rows_limit = 8;

/// Lanes of a vector of fp32, each a running sum: weights are taken two vectors at a time.
inline int dot_lanes(Isa isa) { return isa == Isa::plain ? 0 : isa == Isa::avx2 ? 8 : 16; }

/// Asks the second-level cache for the weights 1 KB after p, before the hardware does, whose own prefetch may end with
/// a page. Not further: at 2 KB and more, Zen 4's prefetchers give way and reading slows down by a quarter.
template <class W>
void ask_ahead(const W* p, int count) {
  constexpr int line = 64 / static_cast<int>(sizeof(W)), ahead = 1024 / static_cast<int>(sizeof(W));
  for (int i = 0; i < count; i += line) __builtin_prefetch(p + ahead + i, 0, 2);
}

#if LAMINA_X86
/// Keeps a loaded vector in its register: g++ 12 else loads it again for every use, and the load units become the
/// limit.
#define LAMINA_IN_REGISTER(v) asm("" : "+v"(v))

/// Two vectors of weights as fp32. Two bf16 share a 32-bit word: shifting yields those of even index, masking those of
/// odd index, which costs half of widening them in order; x is stored in the same order (see arrange_row).
LAMINA_AVX2 inline void load_two(const bf16* p, __m256& first, __m256& second) {
  __m256i both = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  LAMINA_IN_REGISTER(both);
  first = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
  second = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
template <class W>
LAMINA_AVX2 void load_two(const W* p, __m256& first, __m256& second) {
  first = load8(p), second = load8(p + 8);
}
LAMINA_AVX512 inline void load_two(const bf16* p, __m512& first, __m512& second) {
  constexpr __mmask16 all = 0xffff;  // without a mask g++ 12 warns of its own header
  __m512i both = _mm512_loadu_si512(p);
  LAMINA_IN_REGISTER(both);
  first = _mm512_castsi512_ps(_mm512_maskz_slli_epi32(all, both, 16));
  second = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
}
LAMINA_AVX512 inline void load_two(const f16* p, __m512& first, __m512& second) {
  constexpr __mmask16 all = 0xffff;
  first = _mm512_maskz_cvtph_ps(all, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  second = _mm512_maskz_cvtph_ps(all, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16)));
}
LAMINA_AVX512 inline void load_two(const float* p, __m512& first, __m512& second) {
  first = _mm512_loadu_ps(p), second = _mm512_loadu_ps(p + 16);
}

/// sum[m * N + n] += x[m] * w[n] in eight lanes, for M rows of x and N rows of w; depth is a multiple of 16.
template <class W, int M, int N>
LAMINA_AVX2 void dot_block_avx2(const float* x, std::ptrdiff_t x_stride, const W* w, std::ptrdiff_t w_stride, int depth,
                                float* sums) {
  __m256 sum[M * N];
#pragma GCC unroll 16
  for (int i = 0; i < M * N; ++i) sum[i] = _mm256_loadu_ps(sums + 8 * i);
  for (int k = 0; k < depth; k += 16) {
    __m256 x_first[M], x_second[M];
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      x_first[m] = _mm256_loadu_ps(x + m * x_stride + k), x_second[m] = _mm256_loadu_ps(x + m * x_stride + k + 8);
      LAMINA_IN_REGISTER(x_first[m]);
      LAMINA_IN_REGISTER(x_second[m]);
    }
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      __m256 first, second;
      load_two(w + n * w_stride + k, first, second);
      ask_ahead(w + n * w_stride + k, 16);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        sum[m * N + n] = _mm256_fmadd_ps(first, x_first[m], sum[m * N + n]);
        sum[m * N + n] = _mm256_fmadd_ps(second, x_second[m], sum[m * N + n]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M * N; ++i) _mm256_storeu_ps(sums + 8 * i, sum[i]);
}
/// The same in sixteen lanes; depth is a multiple of 32.
template <class W, int M, int N>
LAMINA_AVX512 void dot_block_avx512(const float* x, std::ptrdiff_t x_stride, const W* w, std::ptrdiff_t w_stride,
                                    int depth, float* sums) {
  __m512 sum[M * N];
#pragma GCC unroll 16
  for (int i = 0; i < M * N; ++i) sum[i] = _mm512_loadu_ps(sums + 16 * i);
  for (int k = 0; k < depth; k += 32) {
    __m512 x_first[M], x_second[M];
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      x_first[m] = _mm512_loadu_ps(x + m * x_stride + k), x_second[m] = _mm512_loadu_ps(x + m * x_stride + k + 16);
      LAMINA_IN_REGISTER(x_first[m]);
      LAMINA_IN_REGISTER(x_second[m]);
    }
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      __m512 first, second;
      load_two(w + n * w_stride + k, first, second);
      ask_ahead(w + n * w_stride + k, 32);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        sum[m * N + n] = _mm512_fmadd_ps(first, x_first[m], sum[m * N + n]);
        sum[m * N + n] = _mm512_fmadd_ps(second, x_second[m], sum[m * N + n]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M * N; ++i) _mm512_storeu_ps(sums + 16 * i, sum[i]);
}
#endif

/// The order in which load_two delivers the elements of a row; depth is a multiple of two vectors.
template <class W>
void arrange_row(const float* x, int depth, int lanes, float* out) {
  constexpr bool split = std::is_same_v<W, bf16>;
  for (int k = 0; k < depth; k += 2 * lanes) {
    for (int i = 0; i < lanes; ++i)
      out[k + i] = x[k + (split ? 2 * i : i)], out[k + lanes + i] = x[k + (split ? 2 * i + 1 : i + lanes)];
  }
}

/// Rows of x in the order in which dot_block reads them, and how many of their elements it reads.
struct ArrangedRows {
  const float* data;
  std::ptrdiff_t stride;
  int whole, lanes;
};
template <class W>
ArrangedRows arrange(Isa isa, const Gemm& g) {
  struct Arranged {};
  const int lanes = dot_lanes(isa), whole = lanes == 0 ? 0 : g.depth / (2 * lanes) * (2 * lanes);
  const std::ptrdiff_t stride =
      whole + 16;  // rows a power of two apart would evict each other from the first-level cache
  float* out = scratch<Arranged>(static_cast<std::size_t>(g.rows * stride));
  for (int m = 0; m < g.rows; ++m) arrange_row<W>(g.a.data + m * g.a.stride, whole, lanes, out + m * stride);
  return {out, stride, whole, lanes};
}

/// Columns n, n + apart, ... (N of them) of y[m .. m + M] from the whole vectors of x, arranged, and the rest of x as
/// it is. x passes in pieces that stay in the first-level cache.
template <class W, int M, int N>
void dot_columns(const Gemm& g, ArrangedRows x, int m, int n, int apart) {
  const std::ptrdiff_t stride = g.b.w.stride * apart;
  const W* w = static_cast<const W*>(g.b.w.data) + n * g.b.w.stride;
  float sum[M * N][16] = {};  // the first x.lanes * M * N of them
#if LAMINA_X86
  constexpr int piece = 2048 / M / 32 * 32;
  for (int k = 0; k < x.whole; k += piece) {
    const int depth = std::min(piece, x.whole - k);
    const float* rows = x.data + m * x.stride + k;
    if (x.lanes == 8)
      dot_block_avx2<W, M, N>(rows, x.stride, w + k, stride, depth, sum[0]);
    else
      dot_block_avx512<W, M, N>(rows, x.stride, w + k, stride, depth, sum[0]);
  }
#endif
  for (int i = 0; i < M * N; ++i) {
    const int row = m + i / N, col = i % N;
    float* lane = sum[0] + i * x.lanes;
    for (int half = x.lanes / 2; half > 0; half /= 2) {
      for (int j = 0; j < half; ++j) lane[j] += lane[j + half];
    }
    float total = x.lanes ? lane[0] : 0.0f;
    for (int k = x.whole; k < g.depth; ++k) total += g.a.data[row * g.a.stride + k] * to_f32(w[col * stride + k]);
    float& y = g.c[row * g.c_row + n + col * apart];
    const float value = g.alpha * total + (g.bias ? g.bias[n + col * apart] : 0.0f);
    y = g.beta == 0 ? value : value + g.beta * y;
  }
}

/// Columns n, n + apart, ... (N of them) of y: four rows of x at a time.
template <class W, int N>
void dot_all_rows(const Gemm& g, ArrangedRows x, int n, int apart) {
  int m = 0;
  for (; m + 4 <= g.rows; m += 4) dot_columns<W, 4, N>(g, x, m, n, apart);
  if (g.rows - m == 3) dot_columns<W, 3, N>(g, x, m, n, apart);
  if (g.rows - m == 2) dot_columns<W, 2, N>(g, x, m, n, apart);
  if (g.rows - m == 1) dot_columns<W, 1, N>(g, x, m, n, apart);
}

/// Columns [n, last) of C. Several rows of weights share each load of x. They are far apart, each at the beginning of a
/// run that is read to its end: the hardware prefetches such long runs, and loses track of neighbouring rows at the end
/// of each. A row of x that fills the first-level cache is shared by more of them.
template <class W>
void dot_range(const Gemm& g, ArrangedRows x, int n, int last) {
  const bool long_row = g.rows == 1 && x.whole > 4096;
  const int rows = long_row ? 8 : 4, run = (last - n) / rows;
  for (int i = 0; i < run; ++i) {
    if (long_row)
      dot_columns<W, 1, 8>(g, x, 0, n + i, run);
    else
      dot_all_rows<W, 4>(g, x, n + i, run);
  }
  for (n += rows * run; n < last; ++n) dot_all_rows<W, 1>(g, x, n, 1);
}

/// C = alpha A B + beta C + bias if A has few rows and B is a transposed weight of element type W.
template <class W>
void dot_rows(Isa isa, const Gemm& g) {
  const ArrangedRows x = arrange<W>(isa, g);
  const int parts = std::min(thread_count(), (g.cols + 31) / 32);
  parallel_for(parts, [&](std::int64_t i) {
    dot_range<W>(g, x, static_cast<int>(i * g.cols / parts), static_cast<int>((i + 1) * g.cols / parts));
  });
}

}  // namespace lamina::kernel::detail
