#pragma once
#include <lamina/vision/resize/filter.hpp>
#include <lamina/vision/resize/simd.hpp>

#if defined(LAMINA_VISION_AVX2)
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

/// The two passes of resize.hpp with products of 16-bit pairs (vpmaddwd). A weight beyond 16 bits, as Pillow's are, is
/// split, w = 2^11 * high + low with 0 <= low < 2^11, and summed in two halves: exact, like the plain loops.
namespace lamina::vision::detail {

inline constexpr int low_bits = 11;

/// True if some weight of the filter does not fit into 16 bits.
inline bool is_wide(const ResizeFilter& f) {
  return std::any_of(f.weight.begin(), f.weight.end(),
                     [](std::int32_t w) { return w != static_cast<std::int16_t>(w); });
}

/// Two weights as the halves of a 32-bit word, the first in the low half.
inline std::int32_t weight_pair(std::int32_t first, std::int32_t second) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(first & 0xffff) | static_cast<std::uint32_t>(second)
                                                                                    << 16);
}

/// A filter as the horizontal pass reads it: for each output, groups of four taps, first the high halves of the weights
/// and then, if Wide, the low ones, each as eight words: taps (0, 1) four times, taps (2, 3) four times.
struct RowFilter {
  int groups = 0;   ///< of an output
  int outputs = 0;  ///< how many, from the left, may be made four at a time without reading past a row
  std::vector<std::int32_t> weights;  ///< (out, groups, 1 or 2, 8)
};

template <int C, bool Wide>
RowFilter row_filter(const ResizeFilter& f, int in_width) {
  constexpr int shift = Wide ? low_bits : 0, halves = Wide ? 2 : 1, mask = (1 << low_bits) - 1;
  const int out = static_cast<int>(f.first.size());
  RowFilter r;
  r.groups = (*std::max_element(f.count.begin(), f.count.end()) + 3) / 4;
  // The last group of an output loads 16 bytes, of which four pixels are its own.
  const auto reads_to = [&](int x) { return (f.first[x] + 4 * r.groups) * C + 16 - 4 * C; };
  while (r.outputs + 4 <= out && reads_to(r.outputs + 3) <= in_width * C) r.outputs += 4;
  r.weights.resize(static_cast<std::size_t>(out) * r.groups * halves * 8);
  std::int32_t* to = r.weights.data();
  for (int x = 0; x < out; ++x)
    for (int g = 0; g < r.groups; ++g) {
      const auto tap = [&](int j) {
        return 4 * g + j < f.count[x] ? f.weight[static_cast<std::size_t>(x) * f.width + 4 * g + j] : 0;
      };
      for (int half = 0; half < halves; ++half)
        for (int pair = 0; pair < 4; pair += 2) {
          const auto part = [&](int j) { return half == 0 ? tap(j) >> shift : tap(j) & mask; };
          to = std::fill_n(to, 4, weight_pair(part(pair), part(pair + 1)));
        }
    }
  return r;
}

/// The sums of one output pixel's channels in four words, in units of 2^-bits.
template <int C, bool Wide>
LAMINA_VISION_AVX2 inline __m128i sum_taps(const std::uint8_t* from, const std::int32_t* weights, int groups,
                                           __m256i pairs) {
  __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();
  for (int g = 0; g < groups; ++g, from += 4 * C, weights += Wide ? 16 : 8) {
    const __m256i pixels = _mm256_shuffle_epi8(
        _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))), pairs);
    const auto* w = reinterpret_cast<const __m256i*>(weights);
    high = _mm256_add_epi32(high, _mm256_madd_epi16(pixels, _mm256_loadu_si256(w)));
    if constexpr (Wide) low = _mm256_add_epi32(low, _mm256_madd_epi16(pixels, _mm256_loadu_si256(w + 1)));
  }
  if constexpr (Wide) high = _mm256_add_epi32(_mm256_slli_epi32(high, low_bits), low);
  return _mm_add_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
}

/// The first r.outputs pixels of a row.
template <int C, bool Wide>
LAMINA_VISION_AVX2 void resize_row_avx2(const std::uint8_t* in, const ResizeFilter& f, const RowFilter& r,
                                        std::uint8_t* out) {
  // Bytes of each channel in two neighbouring pixels, widened to 16 bits: pixels 0 and 1 left, 2 and 3 right.
  const __m256i pairs = C == 3 ? _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1,  //
                                                  6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1)
                               : _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1,  //
                                                  8, -1, 12, -1, 9, -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
  const __m128i close_up = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
  const __m128i half = _mm_set1_epi32(1 << (f.bits - 1)), bits = _mm_cvtsi32_si128(f.bits);
  const int step = r.groups * (Wide ? 16 : 8);
  const std::int32_t* w = r.weights.data();
  for (int x = 0; x < r.outputs; x += 4, w += 4 * step, out += 4 * C) {
    __m128i pixel[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m128i sum = sum_taps<C, Wide>(in + f.first[x + i] * C, w + i * step, r.groups, pairs);
      pixel[i] = _mm_sra_epi32(_mm_add_epi32(sum, half), bits);
    }
    const __m128i bytes = _mm_packus_epi16(_mm_packs_epi32(pixel[0], pixel[1]), _mm_packs_epi32(pixel[2], pixel[3]));
    if constexpr (C == 4) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out), bytes);
    } else {
      const __m128i closed = _mm_shuffle_epi8(bytes, close_up);
      _mm_storel_epi64(reinterpret_cast<__m128i*>(out), closed);
      _mm_storeu_si32(out + 8, _mm_srli_si128(closed, 8));
    }
  }
}

/// One row of the vertical pass: to[i] = round(sum_j weight[j] * in[j * row + i]), row >= 32.
template <bool Wide>
LAMINA_VISION_AVX2 void resize_column_avx2(const std::uint8_t* in, std::size_t row, const std::int32_t* weight,
                                           int count, int bits, std::uint8_t* to) {
  constexpr int shift = Wide ? low_bits : 0, mask = (1 << low_bits) - 1;
  const __m256i zero = _mm256_setzero_si256(), half = _mm256_set1_epi32(1 << (bits - 1));
  const __m128i shift_out = _mm_cvtsi32_si128(bits);
  for (std::size_t i = 0; i < row; i += 32) {
    i = std::min(i, row - 32);
    __m256i high[4] = {zero, zero, zero, zero}, low[4] = {zero, zero, zero, zero};
    for (int j = 0; j < count; j += 2) {
      const bool paired = j + 1 < count;
      const std::uint8_t* from = in + j * row + i;
      const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
      const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(paired ? from + row : from));
      const std::int32_t first = weight[j], second = paired ? weight[j + 1] : 0;
      const __m256i high_pair = _mm256_set1_epi32(weight_pair(first >> shift, second >> shift));
      const __m256i low_pair = _mm256_set1_epi32(weight_pair(first & mask, second & mask));
      const __m256i left = _mm256_unpacklo_epi8(a, b), right = _mm256_unpackhi_epi8(a, b);
      const __m256i pairs[4] = {_mm256_unpacklo_epi8(left, zero), _mm256_unpackhi_epi8(left, zero),
                                _mm256_unpacklo_epi8(right, zero), _mm256_unpackhi_epi8(right, zero)};
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(pairs[k], high_pair));
        if constexpr (Wide) low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(pairs[k], low_pair));
      }
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      if constexpr (Wide) high[k] = _mm256_add_epi32(_mm256_slli_epi32(high[k], low_bits), low[k]);
      high[k] = _mm256_sra_epi32(_mm256_add_epi32(high[k], half), shift_out);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_packus_epi16(_mm256_packs_epi32(high[0], high[1]),
                                                                                _mm256_packs_epi32(high[2], high[3])));
  }
}

}  // namespace lamina::vision::detail
#endif
