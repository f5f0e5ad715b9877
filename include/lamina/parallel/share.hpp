#pragma once
#include <cstddef>

namespace lamina::parallel {

/// A contiguous part of a run of values, the part that one rank updates.
struct Share {
  std::size_t first = 0, count = 0;
  std::size_t end() const { return first + count; }
  bool operator==(const Share&) const = default;
};

/// The share of a rank in a run of `count` values. Shares are in the order of ranks, of equal length, and begin at
/// multiples of `piece` values; the last one also has the remainder.
inline Share share_of(std::size_t count, int rank, int size) {
  constexpr std::size_t piece = 64;  // values: 256 bytes of fp32, 128 of half precision
  const std::size_t each = count / static_cast<std::size_t>(size) / piece * piece;
  const std::size_t first = static_cast<std::size_t>(rank) * each;
  return {first, rank + 1 == size ? count - first : each};
}

}  // namespace lamina::parallel
