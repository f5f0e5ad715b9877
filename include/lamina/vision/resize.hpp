#pragma once
#include <lamina/core/threads.hpp>
#include <lamina/vision/pixels.hpp>
#include <lamina/vision/resize/avx2.hpp>
#include <lamina/vision/resize/filter.hpp>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace lamina::vision {
namespace detail {

inline std::uint8_t round_to_level(std::int32_t sum, int bits) {
  return static_cast<std::uint8_t>(std::clamp(sum >> bits, 0, 255));
}

/// Output pixels [begin, end) of one row.
template <int C>
void resize_row(const std::uint8_t* in, const ResizeFilter& f, int begin, int end, std::uint8_t* out) {
  for (int x = begin; x < end; ++x) {
    const std::uint8_t* from = in + static_cast<std::size_t>(f.first[x]) * C;
    const std::int32_t* w = f.weight.data() + static_cast<std::size_t>(x) * f.width;
    std::int32_t sum[C];
    std::fill(sum, sum + C, 1 << (f.bits - 1));
    for (int j = 0; j < f.count[x]; ++j, from += C)
      for (int c = 0; c < C; ++c) sum[c] += from[c] * w[j];
    for (int c = 0; c < C; ++c) out[x * C + c] = round_to_level(sum[c], f.bits);
  }
}

/// One output row of `row` samples from `count` input rows.
inline void resize_column(const std::uint8_t* in, std::size_t row, const std::int32_t* weight, int count, int bits,
                          std::uint8_t* to) {
  std::vector<std::int32_t> sum(row, 1 << (bits - 1));
  for (int j = 0; j < count; ++j) {
    const std::uint8_t* from = in + j * row;
    for (std::size_t i = 0; i < row; ++i) sum[i] += from[i] * weight[j];
  }
  for (std::size_t i = 0; i < row; ++i) to[i] = round_to_level(sum[i], bits);
}

/// (height, in_width, C) to (height, out_width, C).
template <int C>
std::vector<std::uint8_t> resize_rows(const std::uint8_t* in, int in_width, int out_width, int height, Resampler r) {
  const ResizeFilter f = bicubic_filter(in_width, out_width, r);
  std::vector<std::uint8_t> out(static_cast<std::size_t>(height) * out_width * C);
#if defined(LAMINA_VISION_AVX2)
  const bool wide = is_wide(f);
  const RowFilter fast = !has_avx2() ? RowFilter{}
                         : wide      ? row_filter<C, true>(f, in_width)
                                     : row_filter<C, false>(f, in_width);
#endif
  parallel_for(height, [&](std::int64_t y) {
    const std::uint8_t* row = in + static_cast<std::size_t>(y) * in_width * C;
    std::uint8_t* to = out.data() + static_cast<std::size_t>(y) * out_width * C;
    int done = 0;
#if defined(LAMINA_VISION_AVX2)
    done = fast.outputs;
    if (done > 0) wide ? resize_row_avx2<C, true>(row, f, fast, to) : resize_row_avx2<C, false>(row, f, fast, to);
#endif
    resize_row<C>(row, f, done, out_width, to);
  });
  return out;
}

/// (in_height, row) to (out_height, row), row = width * channels samples.
inline std::vector<std::uint8_t> resize_columns(const std::uint8_t* in, int in_height, int out_height, std::size_t row,
                                                Resampler r) {
  const ResizeFilter f = bicubic_filter(in_height, out_height, r);
  std::vector<std::uint8_t> out(out_height * row);
  auto resize = resize_column;
#if defined(LAMINA_VISION_AVX2)
  if (has_avx2() && row >= 32) resize = is_wide(f) ? resize_column_avx2<true> : resize_column_avx2<false>;
#endif
  parallel_for(out_height, [&](std::int64_t y) {
    resize(in + f.first[y] * row, row, f.weight.data() + y * f.width, f.count[y], f.bits, out.data() + y * row);
  });
  return out;
}

}  // namespace detail

/// Bicubic, antialiased resize of 8-bit samples (height, width, C), equal to the last bit to the library that Resampler
/// names, and by hand because neither is packaged for C++. A side that keeps its length is not filtered.
///
/// source   Pillow's Resample.c and torch's UpSampleKernelAVXAntialias.h, re-derived; weights as in Resampler
/// numerics sums are exact in int32: |weights| of one output sum to under 1.5, and 255 * 1.5 * 2^22 < 2^31
template <int C>
std::vector<std::uint8_t> resize_bicubic(std::span<const std::uint8_t> samples, ImageSize from, ImageSize to,
                                         Resampler resampler) {
  if (to == from) return {samples.begin(), samples.end()};
  std::vector<std::uint8_t> narrowed;
  if (to.width != from.width) {
    narrowed = detail::resize_rows<C>(samples.data(), from.width, to.width, from.height, resampler);
    if (to.height == from.height) return narrowed;
    samples = narrowed;
  }
  return detail::resize_columns(samples.data(), from.height, to.height, static_cast<std::size_t>(to.width) * C,
                                resampler);
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
