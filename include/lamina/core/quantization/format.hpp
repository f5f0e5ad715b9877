#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lamina {

/// How frozen matrices are stored in 4 or 8 bits an element. An element is a code, and a block of elements shares a
/// scale: w = value(code) * scale.
struct Quantization {
  enum class Code : std::uint8_t {
    none,  ///< not quantised
    nf4,   ///< 16 quantiles of a normal distribution. source: Dettmers et al. 2023, arXiv:2305.14314
    fp4,   ///< sign, two bits of exponent, one of mantissa
    int8,  ///< -127 to 127; the scale is the block's largest element. source: Dettmers et al. 2022, arXiv:2208.07339
    e4m3   ///< an 8-bit float of three bits of mantissa. source: Micikevicius et al. 2022, arXiv:2209.05433
  };
  Code code = Code::none;
  int run = 0;                       ///< elements, row after row of the matrix, that are a block; 0: blocks are tiles
  int tile_rows = 1, tile_cols = 0;  ///< of a tile, cut off at the matrix's edges; no tile_cols: a row is one
  bool double_quantized = false;     ///< scales are 8-bit codes in blocks of their own

  constexpr explicit operator bool() const { return code != Code::none; }
  constexpr bool operator==(const Quantization&) const = default;

  /// bitsandbytes' Linear4bit: blocks of 64 elements.
  static constexpr Quantization four_bit(Code code, bool double_quantized) {
    return {.code = code, .run = 64, .double_quantized = double_quantized};
  }
  /// bitsandbytes' Linear8bitLt: a scale for each row.
  static constexpr Quantization llm_int8() { return {.code = Code::int8}; }
  /// 8-bit floats with a scale for each row.
  static constexpr Quantization fp8_rows() { return {.code = Code::e4m3}; }
};

/// Bits of a code.
constexpr int bits(Quantization::Code code) {
  return code == Quantization::Code::nf4 || code == Quantization::Code::fp4 ? 4 : 8;
}

/// "nf4, double quantised".
inline std::string name_of(const Quantization& q) {
  constexpr std::string_view names[] = {"none", "nf4", "fp4", "int8", "fp8"};
  return std::string(names[static_cast<int>(q.code)]) + (q.double_quantized ? ", double quantised" : "");
}

/// The parts of a quantised matrix in memory, one after another, each from a multiple of 16 bytes on:
///
///     codes        two of 4 bits in a byte, the first one in the upper half; or one of 8
///     values       (16) fp32, of codes of 4 bits; none of others
///     scales       fp32, one a block; if double quantised, one for 256 blocks, and behind them what all scales add
///     scale_values (256) fp32, of the scales' codes, if double quantised
///     scale_codes  one a block, if double quantised
struct QuantizedLayout {
  std::size_t values = 0, scales = 0, scale_values = 0, scale_codes = 0, bytes = 0;  ///< offsets, and the whole
  std::size_t blocks = 0, scale_count = 0;  ///< scale_count: fp32 scales, the sum behind them not counted

  static constexpr std::size_t scale_run = 256;  ///< blocks whose scales share one

  constexpr QuantizedLayout(const Quantization& q, int rows, int cols) {
    const auto up = [](std::size_t n, std::size_t unit) { return (n + unit - 1) / unit; };
    const auto count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
    if (q.run > 0)
      blocks = up(count, static_cast<std::size_t>(q.run));
    else
      blocks = up(static_cast<std::size_t>(rows), static_cast<std::size_t>(q.tile_rows)) *
               (q.tile_cols > 0 ? up(static_cast<std::size_t>(cols), static_cast<std::size_t>(q.tile_cols)) : 1);
    scale_count = q.double_quantized ? up(blocks, scale_run) : blocks;
    const auto next = [&](std::size_t part) { return up(part, 16) * 16; };
    values = next(bits(q.code) == 4 ? up(count, 2) : count);
    scales = next(values + (bits(q.code) == 4 ? 16 * sizeof(float) : 0));
    scale_values = next(scales + (scale_count + (q.double_quantized ? 1 : 0)) * sizeof(float));
    scale_codes = next(scale_values + (q.double_quantized ? 256 * sizeof(float) : 0));
    bytes = next(scale_codes + (q.double_quantized ? blocks : 0));
  }
};

}  // namespace lamina
