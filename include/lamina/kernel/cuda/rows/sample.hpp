#pragma once
#include <cstddef>
#include <lamina/kernel/sample.hpp>

template <>
struct lamina::kernel::sample<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const Sample<T>& a);
  /// At most 262,144 logits per row.
  template <class T>
  static void rows(Stream<Cuda> s, const SampleRows<T>& a);

  static constexpr int chunk = 2048;  ///< logits that a block takes
  static constexpr int chunks(int vocab) { return (vocab + chunk - 1) / chunk; }
  /// What CUB's sort asks for is known on the GPU alone; this is more, or forward says so.
  static constexpr std::size_t sort_bytes(int vocab) { return 16 * static_cast<std::size_t>(vocab) + (4 << 20); }
  template <class T>
  static std::size_t workspace_bytes(const Sample<T>& a) {
    const auto vocab = static_cast<std::size_t>(a.vocab);
    const std::size_t sums = 2 * (8 * static_cast<std::size_t>(chunks(a.vocab)) + 256);
    const std::size_t sorted = sizeof(T) * vocab + 2 * sizeof(int) * vocab + 3 * 256 + sort_bytes(a.vocab) + 256;
    return sums + (a.order == SampleOrder::by_probability ? sorted : 0);
  }
};
