#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lamina::vision {

/// Whose fixed-point weights a bicubic resize uses. Both filters are Keys' with a = -0.5, widened by the factor of
/// reduction (antialias), both round to 8 bits after the horizontal and after the vertical pass; they differ in how
/// many bits a weight keeps, and so, for about one sample in a thousand, by one level.
enum class Resampler {
  pillow,  ///< Pillow's Image.resize: 22 fractional bits
  torch,   ///< torch's uint8 kernel on a CPU with AVX2, which torchvision uses: the most bits at which the largest
           ///< weight of the pass still fits into int16
};

namespace detail {

/// One pass as a sparse matrix: output i = sum_j weight[i * width + j] * input[first[i] + j], in units of 2^-bits.
struct ResizeFilter {
  int width = 0;                     ///< room for weights per output
  int bits = 0;                      ///< fractional bits of a weight
  std::vector<int> first;            ///< (out) first input each output reads
  std::vector<int> count;            ///< (out) inputs each output reads
  std::vector<std::int32_t> weight;  ///< (out, width)
};

/// Keys' cubic convolution kernel, a = -0.5 (Keys 1981, eq. 15), in the order of operations of the library that is
/// matched: a weight may be on a tie of its rounding.
inline double cubic(double x, Resampler resampler) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x >= 2) return 0;
  if (resampler == Resampler::pillow) return (((x - 5) * x + 8) * x - 4) * a;
  return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

/// Bits that torch gives a weight: as many, below 22, as leave the largest under 2^15.
inline int torch_weight_bits(double largest) {
  int bits = 0;
  while (bits < 22 && static_cast<int>(0.5 + largest * (1 << (bits + 1))) < (1 << 15)) ++bits;
  return bits;
}

/// The weights that turn `in` samples into `out`.
inline ResizeFilter bicubic_filter(int in, int out, Resampler resampler) {
  const double scale = static_cast<double>(in) / out, widening = std::max(scale, 1.0), inverse = 1.0 / widening;
  const double support = 2.0 * widening;
  ResizeFilter f;
  f.width = static_cast<int>(std::ceil(support)) * 2 + 1;
  f.first.resize(out);
  f.count.resize(out);
  std::vector<double> exact(static_cast<std::size_t>(out) * f.width, 0.0);
  double largest = 0;
  for (int i = 0; i < out; ++i) {
    const double center = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(std::min(static_cast<int>(center + support + 0.5), in) - first, f.width);
    double* w = exact.data() + static_cast<std::size_t>(i) * f.width;
    double sum = 0;
    for (int j = 0; j < count; ++j) sum += w[j] = cubic((j + first - center + 0.5) * inverse, resampler);
    for (int j = 0; j < count && sum != 0; ++j) largest = std::max(largest, w[j] /= sum);
    f.first[i] = first;
    f.count[i] = count;
  }
  f.bits = resampler == Resampler::pillow ? 22 : torch_weight_bits(largest);
  f.weight.resize(exact.size());
  std::transform(exact.begin(), exact.end(), f.weight.begin(), [unit = static_cast<double>(1 << f.bits)](double w) {
    return static_cast<std::int32_t>(w * unit + (w < 0 ? -0.5 : 0.5));
  });
  return f;
}

}  // namespace detail
}  // namespace lamina::vision
