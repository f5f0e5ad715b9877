#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include <lamina/core/host/device.hpp>
#include <lamina/core/quantization/format.hpp>

namespace lamina {

/// The value of an 8-bit float: sign, four bits of exponent, three of mantissa; no infinities.
LAMINA_HD inline float e4m3_value(std::uint8_t bits) {
  const std::uint32_t sign = (bits & 0x80u) << 24, exponent = (bits >> 3) & 15, mantissa = bits & 7u;
  if ((bits & 0x7fu) == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 120) << 23) | (mantissa << 20));
  const float tiny = static_cast<float>(mantissa) * 0x1p-9f;
  return sign ? -tiny : tiny;
}

/// A quantised matrix (rows, cols), as kernels read it. Its parts are in a backend's memory (QuantizedLayout), the
/// object itself in the host's.
struct QuantizedMatrix {
  Quantization format;
  int rows = 0, cols = 0;
  const std::uint8_t* codes = nullptr;
  const float* values = nullptr;
  const float* scales = nullptr;
  const float* scale_values = nullptr;
  const std::uint8_t* scale_codes = nullptr;
  std::size_t scale_count = 0;  ///< scales[scale_count] is the sum that double quantised scales add

  QuantizedMatrix() = default;
  QuantizedMatrix(const Quantization& q, int r, int c, const std::byte* data) : format(q), rows(r), cols(c) {
    const QuantizedLayout at(q, r, c);
    codes = reinterpret_cast<const std::uint8_t*>(data);
    values = reinterpret_cast<const float*>(data + at.values);
    scales = reinterpret_cast<const float*>(data + at.scales);
    scale_values = reinterpret_cast<const float*>(data + at.scale_values);
    scale_codes = reinterpret_cast<const std::uint8_t*>(data + at.scale_codes);
    scale_count = at.scale_count;
  }

  /// The number of an element, row after row.
  LAMINA_HD std::size_t element(int r, int c) const {
    return static_cast<std::size_t>(r) * static_cast<std::size_t>(cols) + static_cast<std::size_t>(c);
  }
  /// Elements from (r, c) on in its row that share a scale with it.
  LAMINA_HD int left_in_block(int r, int c) const {
    int left = cols - c;
    if (format.run > 0)
      left = format.run - static_cast<int>(element(r, c) % static_cast<std::size_t>(format.run));
    else if (format.tile_cols > 0)
      left = format.tile_cols - c % format.tile_cols;
    return left < cols - c ? left : cols - c;
  }
  LAMINA_HD std::size_t block_of(int r, int c) const {
    if (format.run > 0) return element(r, c) / static_cast<std::size_t>(format.run);
    const int across = format.tile_cols > 0 ? (cols + format.tile_cols - 1) / format.tile_cols : 1;
    return static_cast<std::size_t>(r / format.tile_rows) * static_cast<std::size_t>(across) +
           static_cast<std::size_t>(format.tile_cols > 0 ? c / format.tile_cols : 0);
  }
  LAMINA_HD float scale(std::size_t block) const {
    if (!format.double_quantized) return scales[block];
    return rounded_product(scale_values[scale_codes[block]], scales[block / QuantizedLayout::scale_run]) +
           scales[scale_count];
  }
  /// An element, given its block's scale.
  LAMINA_HD float value(int r, int c, float scale_of_block) const {
    const std::size_t i = element(r, c);
    switch (format.code) {
      case Quantization::Code::int8: {
        constexpr float reciprocal = 7.874015718698502e-3f;  // of 127, as bitsandbytes rounds it
        return static_cast<float>(static_cast<std::int8_t>(codes[i])) * scale_of_block * reciprocal;
      }
      case Quantization::Code::e4m3:
        return e4m3_value(codes[i]) * scale_of_block;
      default:
        return values[i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15] * scale_of_block;
    }
  }
  LAMINA_HD float operator()(int r, int c) const { return value(r, c, scale(block_of(r, c))); }

  /// Writes elements (r, c) to (r, c + count - 1).
  LAMINA_HD void decode(int r, int c, int count, float* out) const {
    while (count > 0) {
      const int left = left_in_block(r, c), n = left < count ? left : count;
      const float s = scale(block_of(r, c));
      for (int i = 0; i < n; ++i) out[i] = value(r, c + i, s);
      c += n, out += n, count -= n;
    }
  }

 private:
  /// a * b, rounded before something is added to it, as bitsandbytes has it: no fused multiply-add.
  LAMINA_HD static float rounded_product(float a, float b) {
#if defined(__CUDA_ARCH__)
    return __fmul_rn(a, b);
#else
    const volatile float product = a * b;
    return product;
#endif
  }
};

/// The matrix of several, one above the other from `first` on, that row r belongs to; r becomes its row in it.
LAMINA_HD inline const QuantizedMatrix& part_of_row(const QuantizedMatrix* first, int& r) {
  while (r >= first->rows) r -= first->rows, ++first;
  return *first;
}

}  // namespace lamina
