#pragma once
#include <algorithm>
#include <lamina/kernel/cuda/elementwise/convert.hpp>
#include <lamina/kernel/cuda/elementwise/elementwise.cuh>

namespace lamina::kernel::cuda {

/// Rows of 8192 elements; what is left over is the last, shorter row's.
template <class From, class To>
struct convert_run {
  static constexpr int row_elements = 8192;
  static constexpr bool writes_weights = true;  ///< perhaps
  Convert<From, To> a;
  template <int Each>
  __device__ void at(int row, int column) const {
    const std::size_t first = static_cast<std::size_t>(row) * row_elements + column;
    if (first + Each <= a.n) {
      float x[Each];
      load_elements(a.from + first, x);
      store_elements(a.to + first, x);
    } else {
      for (std::size_t i = first; i < a.n; ++i) a.to[i] = narrow<To>(widen(a.from[i]));
    }
  }
};

}  // namespace lamina::kernel::cuda

namespace lamina::kernel {

template <class From, class To>
void convert<Cuda>::run(Stream<Cuda> s, const Convert<From, To>& a) {
  using Run = cuda::convert_run<From, To>;
  constexpr int each = std::max(cuda::piece_elements<From>, cuda::piece_elements<To>);
  const bool whole = cuda::is_aligned(a.from) && cuda::is_aligned(a.to);
  const auto rows = static_cast<int>((a.n + Run::row_elements - 1) / Run::row_elements);
  cuda::launch_elementwise<each>(s, rows, Run::row_elements, whole, Run{a}, "convert");
}

}  // namespace lamina::kernel
