#pragma once
#include <lamina/core/threads.hpp>
#include <lamina/vision/pixels.hpp>

#include <algorithm>
#include <cmath>
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
struct Filter {
  int width = 0;                     ///< room for weights per output
  int bits = 0;                      ///< fractional bits of a weight
  std::vector<int> first;            ///< (out) first input each output reads
  std::vector<int> count;            ///< (out) inputs each output reads
  std::vector<std::int32_t> weight;  ///< (out, width)
};

/// Keys' cubic convolution kernel, a = -0.5 (Keys 1981, eq. 15), in the order of operations of the library that is
/// matched: a weight may lie on a tie of its rounding.
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
inline Filter bicubic_filter(int in, int out, Resampler resampler) {
  const double scale = static_cast<double>(in) / out, widening = std::max(scale, 1.0), inverse = 1.0 / widening;
  const double support = 2.0 * widening;
  Filter f;
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

inline std::uint8_t round_to_level(std::int32_t sum, int bits) {
  return static_cast<std::uint8_t>(std::clamp(sum >> bits, 0, 255));
}

/// (height, in_width, C) to (height, out_width, C).
template <int C>
std::vector<std::uint8_t> resize_rows(const std::uint8_t* in, int in_width, int out_width, int height, Resampler r) {
  const Filter f = bicubic_filter(in_width, out_width, r);
  std::vector<std::uint8_t> out(static_cast<std::size_t>(height) * out_width * C);
  parallel_for(height, [&](std::int64_t y) {
    const std::uint8_t* row = in + static_cast<std::size_t>(y) * in_width * C;
    std::uint8_t* to = out.data() + static_cast<std::size_t>(y) * out_width * C;
    for (int x = 0; x < out_width; ++x, to += C) {
      const std::uint8_t* from = row + static_cast<std::size_t>(f.first[x]) * C;
      const std::int32_t* w = f.weight.data() + static_cast<std::size_t>(x) * f.width;
      std::int32_t sum[C];
      std::fill(sum, sum + C, 1 << (f.bits - 1));
      for (int j = 0; j < f.count[x]; ++j, from += C)
        for (int c = 0; c < C; ++c) sum[c] += from[c] * w[j];
      for (int c = 0; c < C; ++c) to[c] = round_to_level(sum[c], f.bits);
    }
  });
  return out;
}

/// (in_height, row) to (out_height, row), row = width * channels samples.
inline std::vector<std::uint8_t> resize_columns(const std::uint8_t* in, int in_height, int out_height, std::size_t row,
                                                Resampler r) {
  const Filter f = bicubic_filter(in_height, out_height, r);
  std::vector<std::uint8_t> out(out_height * row);
  parallel_for(out_height, [&](std::int64_t y) {
    std::vector<std::int32_t> sum(row, 1 << (f.bits - 1));
    for (int j = 0; j < f.count[y]; ++j) {
      const std::uint8_t* from = in + (f.first[y] + j) * row;
      const std::int32_t w = f.weight[static_cast<std::size_t>(y) * f.width + j];
      for (std::size_t i = 0; i < row; ++i) sum[i] += from[i] * w;
    }
    std::uint8_t* to = out.data() + y * row;
    for (std::size_t i = 0; i < row; ++i) to[i] = round_to_level(sum[i], f.bits);
  });
  return out;
}

}  // namespace detail

/// Bicubic, antialiased resize of 8-bit samples (height, width, C), equal to the last bit to the library that Resampler
/// names. A side that keeps its length is not filtered.
///
/// source   Pillow's Resample.c and torch's UpSampleKernelAVXAntialias.h, re-derived; weights as in Resampler
/// numerics sums are exact in int32: |weights| of one output sum to under 1.5, and 255 * 1.5 * 2^22 < 2^31
template <int C>
std::vector<std::uint8_t> resize_bicubic(std::vector<std::uint8_t> samples, ImageSize from, ImageSize to,
                                         Resampler resampler) {
  if (to.width != from.width)
    samples = detail::resize_rows<C>(samples.data(), from.width, to.width, from.height, resampler);
  if (to.height != from.height)
    samples = detail::resize_columns(samples.data(), from.height, to.height, static_cast<std::size_t>(to.width) * C,
                                     resampler);
  return samples;
}

/// Takes for each output pixel the input pixel under its centre, as Pillow does (which adds up the step, so that the
/// centre carries its rounding).
inline std::vector<std::uint8_t> resize_nearest(const std::vector<std::uint8_t>& rgb, ImageSize from, ImageSize to) {
  const auto positions = [](int in, int out) {
    std::vector<int> at(out);
    const double step = static_cast<double>(in) / out;
    double center = step * 0.5;
    for (int& i : at) i = std::min(static_cast<int>(center), in - 1), center += step;
    return at;
  };
  const std::vector<int> xs = positions(from.width, to.width), ys = positions(from.height, to.height);
  std::vector<std::uint8_t> out;
  out.reserve(static_cast<std::size_t>(to.pixels()) * 3);
  for (int y : ys)
    for (int x : xs) {
      const std::uint8_t* pixel = rgb.data() + (static_cast<std::size_t>(y) * from.width + x) * 3;
      out.insert(out.end(), pixel, pixel + 3);
    }
  return out;
}

}  // namespace lamina::vision
