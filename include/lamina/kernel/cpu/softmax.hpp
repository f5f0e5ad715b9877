#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

/// Row operations of a softmax, written so that a compiler turns each loop into vector instructions.
namespace lamina::kernel::detail {

/// exp(x) to 2 ulp for x <= 88, without a branch; below -87, where the result would be subnormal, 0. NaN stays NaN.
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

/// x[i] = exp(x[i] - top); returns their sum, in sixteen fixed partial sums.
inline float exp_row(float* x, int n, float top) {
  constexpr int lanes = 16;
  float sum[lanes] = {};
  int i = 0;
  for (; i + lanes <= n; i += lanes) {
    for (int j = 0; j < lanes; ++j) sum[j] += x[i + j] = fast_exp(x[i + j] - top);
  }
  for (; i < n; ++i) sum[0] += x[i] = fast_exp(x[i] - top);
  for (int half = lanes / 2; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) sum[j] += sum[j + half];
  }
  return sum[0];
}

}  // namespace lamina::kernel::detail
