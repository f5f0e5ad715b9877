#pragma once
#include <lamina/kernel/cpu/simd.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>

/// Packing: the right-hand factor of a product, as fp32, in the order in which the innermost loop reads it.
namespace lamina::kernel::detail {

#if LAMINA_X86
/// out[k * width + j] = rows[j][k] for eight rows and eight k.
template <class W>
LAMINA_AVX2 void transpose_8x8(const W* rows, std::ptrdiff_t stride, float* out, std::ptrdiff_t width) {
  __m256 r[8], s[8];
  for (int j = 0; j < 8; ++j) r[j] = load8(rows + j * stride);
  for (int j = 0; j < 8; j += 2) {
    s[j] = _mm256_unpacklo_ps(r[j], r[j + 1]);
    s[j + 1] = _mm256_unpackhi_ps(r[j], r[j + 1]);
  }
  for (int j = 0; j < 8; j += 4) {
    r[j] = _mm256_shuffle_ps(s[j], s[j + 2], 0x44), r[j + 1] = _mm256_shuffle_ps(s[j], s[j + 2], 0xee);
    r[j + 2] = _mm256_shuffle_ps(s[j + 1], s[j + 3], 0x44), r[j + 3] = _mm256_shuffle_ps(s[j + 1], s[j + 3], 0xee);
  }
  for (int k = 0; k < 4; ++k) {
    _mm256_storeu_ps(out + k * width, _mm256_permute2f128_ps(r[k], r[k + 4], 0x20));
    _mm256_storeu_ps(out + (k + 4) * width, _mm256_permute2f128_ps(r[k], r[k + 4], 0x31));
  }
}
template <class W>
LAMINA_AVX2 int pack_rows_avx2(const W* rows, std::ptrdiff_t stride, int depth, float* out, int width) {
  int k = 0;
  for (; k + 8 <= depth; k += 8) transpose_8x8(rows + k, stride, out + std::ptrdiff_t{k} * width, width);
  return k;
}
template <class W>
LAMINA_AVX2 void convert_avx2(const W* from, float* to, int whole) {
  for (int j = 0; j < whole; j += 8) _mm256_storeu_ps(to + j, load8(from + j));
}
#endif

/// B = W^T: column j of the panel is row j of W. out[k * width + j] = w[j * stride + k]; columns past `cols` are zero.
template <class W>
void pack_transposed(Isa isa, const W* w, std::ptrdiff_t stride, int depth, int cols, float* out, int width) {
  for (int j = 0; j < width; j += 8) {
    const int ready = std::min(8, cols - j);
    int k = 0;
#if LAMINA_X86
    if (isa != Isa::plain && ready == 8) k = pack_rows_avx2(w + j * stride, stride, depth, out + j, width);
#else
    (void)isa;
#endif
    for (; k < depth; ++k) {
      for (int i = 0; i < 8; ++i)
        out[std::ptrdiff_t{k} * width + j + i] = i < ready ? to_f32(w[(j + i) * stride + k]) : 0.0f;
    }
  }
}

/// B = W: row k of the panel is a piece of row k of W. out[k * width + j] = w[k * stride + j]; the rest is zero.
template <class W>
void pack_straight(Isa isa, const W* w, std::ptrdiff_t stride, int depth, int cols, float* out, int width) {
  for (int k = 0; k < depth; ++k, w += stride, out += width) {
    int j = 0;
#if LAMINA_X86
    if (isa != Isa::plain) convert_avx2(w, out, j = cols / 8 * 8);
#else
    (void)isa;
#endif
    for (; j < width; ++j) out[j] = j < cols ? to_f32(w[j]) : 0.0f;
  }
}

}  // namespace lamina::kernel::detail
