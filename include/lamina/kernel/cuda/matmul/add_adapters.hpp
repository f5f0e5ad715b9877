#pragma once
#include <algorithm>

#include <lamina/kernel/add_adapters.hpp>

namespace lamina::kernel::cuda {
inline constexpr int most_adapter_splits = 8;
}  // namespace lamina::kernel::cuda

/// Tensor cores for half precision and widths that divide by 8, else plain sums.
template <>
struct lamina::kernel::add_adapters<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const AddAdapters<T>& a);
  /// Parts of x's columns that are summed apart: by their number alone, so that a row's result depends on nothing else.
  static constexpr int splits(int columns) { return std::clamp(columns / 512, 1, cuda::most_adapter_splits); }
  template <class T>
  static std::size_t workspace_bytes(const AddAdapters<T>& a) {
    return sizeof(float) * static_cast<std::size_t>(splits(a.x.cols)) * static_cast<std::size_t>(a.x.rows) *
           static_cast<std::size_t>(a.adapters.ranks());
  }
};
