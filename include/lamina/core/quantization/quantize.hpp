#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numeric>
#include <span>
#include <vector>

#include <lamina/core/quantization/dynamic_map.hpp>
#include <lamina/core/quantization/matrix.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/core/threads.hpp>

/// Quantising: on the host, whatever the backend that reads the matrices.
///
/// source  bitsandbytes 0.50, backends/default/ops.py, and the equal rules of its CUDA kernels: codes and scales agree
///         bit for bit. The mean that double quantised scales add is rounded once here; torch sums in fp32, in an order
///         that depends on the machine. bitsandbytes' CPU library chooses the neighbour of the nearest code for one
///         scale in a thousand (its table has steps of 1e-5); its CUDA kernels do not.
namespace lamina {
namespace detail {

inline constexpr std::array<float, 16> nf4_values = {-1.0f,
                                                     -0.6961928009986877f,
                                                     -0.5250730514526367f,
                                                     -0.39491748809814453f,
                                                     -0.28444138169288635f,
                                                     -0.18477343022823334f,
                                                     -0.09105003625154495f,
                                                     0.0f,
                                                     0.07958029955625534f,
                                                     0.16093020141124725f,
                                                     0.24611230194568634f,
                                                     0.33791524171829224f,
                                                     0.44070982933044434f,
                                                     0.5626170039176941f,
                                                     0.7229568362236023f,
                                                     1.0f};
/// In the order of their bits, the largest being 1.
inline constexpr std::array<float, 16> fp4_values = [] {
  constexpr float twelfths[] = {0.0f, 0.0625f, 8.0f, 12.0f, 4.0f, 6.0f, 2.0f, 3.0f};
  std::array<float, 16> values{};
  for (std::size_t i = 0; i < 8; ++i) values[i] = twelfths[i] / 12, values[i + 8] = -twelfths[i] / 12;
  values[8] = 0;
  return values;
}();

/// Of codes of scales, in rising order.
inline constexpr std::array<float, dynamic_codes> scale_values = dynamic_map(true);

/// The nearest of some values: of two equally near the smaller one.
template <std::size_t N>
class NearestCode {
 public:
  explicit NearestCode(const std::array<float, N>& values) {
    std::iota(order_.begin(), order_.end(), std::uint8_t{0});
    std::stable_sort(order_.begin(), order_.end(), [&](auto a, auto b) { return values[a] < values[b]; });
    for (std::size_t i = 0; i + 1 < N; ++i) bounds_[i] = (values[order_[i]] + values[order_[i + 1]]) / 2;
  }
  std::uint8_t operator()(float x) const {
    return order_[static_cast<std::size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), x) - bounds_.begin())];
  }

 private:
  std::array<std::uint8_t, N> order_{};
  std::array<float, N - 1> bounds_{};
};

inline float largest(std::span<const float> x) {
  float most = 0;
  for (const float v : x) most = std::max(most, std::abs(v));
  return most;
}

/// The codes of x in blocks of `run`, and their scales. A last block that is cut short is divided by its scale, others
/// are multiplied by the reciprocal.
template <std::size_t N, class Put>
void quantize_runs(std::span<const float> x, std::size_t run, const NearestCode<N>& nearest, float* scales, Put put) {
  constexpr float least = 1e-38f;
  parallel_for(static_cast<std::int64_t>((x.size() + run - 1) / run), [&](std::int64_t b) {
    const std::size_t first = static_cast<std::size_t>(b) * run;
    const auto block = x.subspan(first, std::min(run, x.size() - first));
    const bool whole = block.size() == run;
    const float most = largest(block), divisor = std::max(most, least), factor = 1.0f / divisor;
    scales[b] = whole ? most : divisor;
    for (std::size_t i = 0; i < block.size(); ++i)
      put(first + i, nearest(std::clamp(whole ? block[i] * factor : block[i] / divisor, -1.0f, 1.0f)));
  });
}

/// Turns fp32 scales into codes, their own scales and their mean.
inline void quantize_scales(std::vector<float>& plain, float mean, float* scales, std::uint8_t* codes) {
  for (float& s : plain) s -= mean;
  static const NearestCode<256> nearest(scale_values);
  quantize_runs(std::span<const float>(plain), QuantizedLayout::scale_run, nearest, scales,
                [&](std::size_t i, std::uint8_t code) { codes[i] = code; });
}

inline void quantize_four_bit(const Quantization& q, const QuantizedLayout& at, std::span<const float> w,
                              std::byte* out) {
  const std::array<float, 16>& values = q.code == Quantization::Code::nf4 ? nf4_values : fp4_values;
  std::memcpy(out + at.values, values.data(), sizeof values);
  std::vector<float> scales(at.blocks);
  std::vector<std::uint8_t> codes((w.size() + 1) / 2 * 2);
  const NearestCode<16> nearest(values);
  codes.back() = nearest(0);
  quantize_runs(w, static_cast<std::size_t>(q.run), nearest, scales.data(),
                [&](std::size_t i, std::uint8_t code) { codes[i] = code; });
  for (std::size_t i = 0; i < codes.size(); i += 2) out[i / 2] = static_cast<std::byte>(codes[i] << 4 | codes[i + 1]);
  auto* to = reinterpret_cast<float*>(out + at.scales);
  if (!q.double_quantized) {
    std::copy(scales.begin(), scales.end(), to);
    return;
  }
  std::memcpy(out + at.scale_values, scale_values.data(), sizeof scale_values);
  to[at.scale_count] =
      static_cast<float>(std::accumulate(scales.begin(), scales.end(), 0.0) / static_cast<double>(scales.size()));
  quantize_scales(scales, to[at.scale_count], to, reinterpret_cast<std::uint8_t*>(out + at.scale_codes));
}

/// Rounds to nearest even; what is larger than 448 becomes it.
inline std::uint8_t to_e4m3(float x) {
  const auto sign = static_cast<std::uint8_t>(std::signbit(x) ? 0x80 : 0);
  const float a = std::min(std::abs(x), 448.0f);
  if (!(a >= 0x1p-6f)) return sign | static_cast<std::uint8_t>(std::nearbyint(a * 0x1p9f));
  const auto u = std::bit_cast<std::uint32_t>(a);
  const std::uint32_t rounded = u + 0x7ffffu + ((u >> 20) & 1u);
  return sign | static_cast<std::uint8_t>((rounded >> 20) - (120u << 3));
}

/// One scale a row.
inline void quantize_rows(const Quantization& q, const QuantizedLayout& at, int rows, int cols, const float* w,
                          std::byte* out) {
  auto* scales = reinterpret_cast<float*>(out + at.scales);
  parallel_for(rows, [&](std::int64_t r) {
    const std::span<const float> row(w + r * cols, static_cast<std::size_t>(cols));
    std::byte* to = out + r * cols;
    if (q.code == Quantization::Code::int8) {  // bitsandbytes rounds the weights to fp16 first
      std::vector<float> halves(row.size());
      std::transform(row.begin(), row.end(), halves.begin(), [](float v) { return to_f32(round_to<f16>(v)); });
      scales[r] = largest(halves);
      const float factor = scales[r] > 0 ? 1.0f / scales[r] * 127.0f : 0;
      for (std::size_t i = 0; i < row.size(); ++i)
        to[i] = static_cast<std::byte>(static_cast<std::int8_t>(std::nearbyint(halves[i] * factor)));
    } else {
      scales[r] = largest(row) / 448.0f;
      for (std::size_t i = 0; i < row.size(); ++i)
        to[i] = static_cast<std::byte>(scales[r] > 0 ? to_e4m3(row[i] / scales[r]) : 0);
    }
  });
}

}  // namespace detail

/// Quantises a matrix (rows, cols) without gaps into the QuantizedLayout(q, rows, cols).bytes from `out` on. Of 8-bit
/// formats those whose blocks are rows.
inline void quantize(const Quantization& q, int rows, int cols, const float* w, std::byte* out) {
  const QuantizedLayout at(q, rows, cols);
  std::memset(out, 0, at.bytes);
  if (bits(q.code) == 4)
    detail::quantize_four_bit(q, at, {w, static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols)}, out);
  else
    detail::quantize_rows(q, at, rows, cols, w, out);
}

}  // namespace lamina
