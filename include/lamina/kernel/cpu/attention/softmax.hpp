#pragma once
#include <lamina/kernel/cpu/simd.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

/// Row operations of a softmax.
namespace lamina::kernel::detail {

/// exp(x) to 2 ulp for x <= 88; below -87, as the result would be subnormal, 0. NaN stays NaN.
/// x = n ln 2 + r with |r| <= ln(2) / 2, then Taylor's series to r^7 / 7!, whose rest is below 6e-9.
inline float fast_exp(float x) {
  constexpr float shift = 0x1.8p23f;              // adding it leaves the nearest integer in the low bits
  const float clamped = x < -87.0f ? -87.0f : x;  // in this order a NaN passes
  const float shifted = clamped * 0x1.715476p0f + shift, n = shifted - shift;
  const float r = (clamped - n * 0x1.62e4p-1f) - n * 0x1.7f7d1cp-20f;  // ln 2 in two parts; the first product is exact
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720, p = p * r + 1.0f / 120, p = p * r + 1.0f / 24, p = p * r + 1.0f / 6, p = p * r + 0.5f;
  p = (p * r * r + r) + 1;
  const float power = std::bit_cast<float>((std::bit_cast<std::uint32_t>(shifted) << 23) + (127u << 23));
  return x < -87.0f ? 0.0f : p * power;
}

#if LAMINA_X86
/// fast_exp of eight values, with fused multiply-adds.
LAMINA_AVX2 inline __m256 fast_exp8(__m256 x) {
  const __m256 shift = _mm256_set1_ps(0x1.8p23f), least = _mm256_set1_ps(-87.0f),
               clamped = _mm256_max_ps(least, x);  // max(_, NaN) is NaN
  const __m256 shifted = _mm256_fmadd_ps(clamped, _mm256_set1_ps(0x1.715476p0f), shift),
               n = _mm256_sub_ps(shifted, shift);
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.62e4p-1f), clamped);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0x1.7f7d1cp-20f), r);
  __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(1.0f / 5040), r, _mm256_set1_ps(1.0f / 720));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 120)), p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 24));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0f / 6)), p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
  p = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(p, r), r, r), _mm256_set1_ps(1.0f));
  const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127)), 23);
  const __m256 value = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
  return _mm256_andnot_ps(_mm256_cmp_ps(x, least, _CMP_LT_OQ), value);
}
/// x[i] = exp(x[i] - top) for a multiple of eight values; adds them to sum in eight lanes.
LAMINA_AVX2 inline void exp_eights(float* x, int n, float top, float* sum) {
  __m256 total = _mm256_setzero_ps();
  const __m256 tops = _mm256_set1_ps(top);
  for (int i = 0; i < n; i += 8) {
    const __m256 e = fast_exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), tops));
    _mm256_storeu_ps(x + i, e);
    total = _mm256_add_ps(total, e);
  }
  _mm256_storeu_ps(sum, total);
}
#endif

/// The largest of n values that are numbers; -infinity if there is none. A NaN shows in the sum of exp_row.
inline float row_max(const float* x, int n) {
  constexpr int lanes = 16;
  float top[lanes];
  std::fill_n(top, lanes, -INFINITY);
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (int j = 0; j < lanes; ++j) top[j] = x[i + j] > top[j] ? x[i + j] : top[j];
  }
  for (; i < n; ++i) top[0] = x[i] > top[0] ? x[i] : top[0];
  return *std::max_element(top, top + lanes);
}

/// x[i] = exp(x[i] - top); returns their sum, in eight fixed partial sums.
inline float exp_row(float* x, int n, float top) {
  float sum[8] = {};
  int i = 0;
#if LAMINA_X86
  static const bool fast = cpu_supports(Isa::avx2);
  if (fast) exp_eights(x, i = n / 8 * 8, top, sum);
#endif
  for (; i < n; ++i) sum[i % 8] += x[i] = fast_exp(x[i] - top);
  return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));
}

}  // namespace lamina::kernel::detail
