#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include <lamina/core/host/device.hpp>

namespace lamina {

/// Element types of tensors in memory and in files; the names are safetensors' own.
enum class DType : std::uint8_t { F32, BF16, F16, F64, I64, I32, I16, I8, U8, Bool, F8_E4M3 };

constexpr std::size_t size_bytes(DType t) {
  switch (t) {
    case DType::F64:
    case DType::I64:
      return 8;
    case DType::F32:
    case DType::I32:
      return 4;
    case DType::BF16:
    case DType::F16:
    case DType::I16:
      return 2;
    case DType::I8:
    case DType::U8:
    case DType::Bool:
    case DType::F8_E4M3:
      return 1;
  }
  return 0;
}

constexpr std::string_view name_of(DType t) {
  switch (t) {
    case DType::F32:
      return "F32";
    case DType::BF16:
      return "BF16";
    case DType::F16:
      return "F16";
    case DType::F64:
      return "F64";
    case DType::I64:
      return "I64";
    case DType::I32:
      return "I32";
    case DType::I16:
      return "I16";
    case DType::I8:
      return "I8";
    case DType::U8:
      return "U8";
    case DType::Bool:
      return "BOOL";
    case DType::F8_E4M3:
      return "F8_E4M3";
  }
  return "?";
}

/// The upper half of an IEEE binary32; rounding is to nearest even.
struct bf16 {
  std::uint16_t bits = 0;
};
/// IEEE binary16.
struct f16 {
  std::uint16_t bits = 0;
};

LAMINA_HD inline float to_f32(float x) { return x; }
LAMINA_HD inline float to_f32(bf16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }
LAMINA_HD inline float to_f32(f16 x) {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16, exponent = (x.bits >> 10) & 31, mantissa = x.bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float tiny = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal: mantissa * 2^-24
  return sign ? -tiny : tiny;
}

/// Rounds to T, to nearest even; overflow becomes infinity, NaN stays NaN.
template <class T>
LAMINA_HD T round_to(float x);
template <>
LAMINA_HD inline float round_to<float>(float x) {
  return x;
}
template <>
LAMINA_HD inline bf16 round_to<bf16>(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<std::uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<std::uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}
template <>
LAMINA_HD inline f16 round_to<f16>(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>((u >> 16) & 0x8000u);
  const std::uint32_t a = u & 0x7fffffffu;
  if (a > 0x7f800000u) return {static_cast<std::uint16_t>(sign | 0x7e00u)};
  if (a >= 0x477ff000u) return {static_cast<std::uint16_t>(sign | 0x7c00u)};  // 65520 and above round to infinity
  if (a < 0x38800000u) {                                                      // subnormal: units of 2^-24
    const float units = std::bit_cast<float>(a) * 0x1p24f;
    const auto below = static_cast<std::uint32_t>(units);
    const float rest = units - static_cast<float>(below);
    const std::uint32_t up = rest > 0.5f || (rest == 0.5f && (below & 1u));
    return {static_cast<std::uint16_t>(sign | (below + up))};
  }
  const std::uint32_t rounded = a + 0xfffu + ((a >> 13) & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

/// The tag of an element type, if it has one.
template <class T>
extern const DType dtype_of;
template <>
inline constexpr DType dtype_of<float> = DType::F32;
template <>
inline constexpr DType dtype_of<bf16> = DType::BF16;
template <>
inline constexpr DType dtype_of<f16> = DType::F16;
template <>
inline constexpr DType dtype_of<double> = DType::F64;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::I64;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::I32;

}  // namespace lamina
