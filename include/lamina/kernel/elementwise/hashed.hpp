#pragma once
#include <cstdint>

#include <lamina/core/host/device.hpp>

namespace lamina::kernel {

/// A number in [0, 1) that is a pure function of a seed and an index: splitmix64 (Steele et al. 2014), upper 24 bits.
LAMINA_HD inline float hashed_unit(std::uint64_t seed, std::uint64_t index) {
  std::uint64_t z = seed + (index + 1) * 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  return static_cast<float>(z >> 40) * 0x1p-24f;
}

}  // namespace lamina::kernel
