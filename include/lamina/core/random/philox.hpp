#pragma once
#include <cstdint>

#ifndef R123_USE_SSE  // for its AES generators, unused here: would include all intrinsics of the compiler
#define R123_USE_SSE 0
#endif
#include <Random123/philox.h>

#include <lamina/core/host/device.hpp>

namespace lamina {

/// A number in [0, 1) with 53 random bits: Philox4x32-10 with the seed as its key. It depends on (seed, stream,
/// position) alone, so that the noise of a token does not depend on what was drawn before it or for other sequences.
/// source  Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"
LAMINA_HD inline double uniform(std::uint64_t seed, std::uint64_t stream, std::uint64_t position) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  const auto words =
      r123::Philox4x32{}({{low(position), high(position), low(stream), high(stream)}}, {{low(seed), high(seed)}});
  return static_cast<double>((std::uint64_t{words[0]} << 21) ^ (words[1] >> 11)) * 0x1p-53;
}

}  // namespace lamina
