#pragma once
#include <cstdint>

#include <lamina/core/host/device.hpp>

namespace lamina::kernel {

/// 64 random bits that are a pure function of a seed and an index.
/// source      Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators" (SplitMix64)
LAMINA_HD inline std::uint64_t hashed_bits(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}
/// A number in [0, 1), of their upper 24.
LAMINA_HD inline float hashed_unit(std::uint64_t seed, std::uint64_t index) {
  return static_cast<float>(hashed_bits(seed, index) >> 40) * 0x1p-24f;
}

}  // namespace lamina::kernel
