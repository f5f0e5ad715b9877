#pragma once
#include <cstddef>

#include <lamina/core/backend.hpp>
#include <lamina/kernel/no_kernels.hpp>

namespace lamina::kernel {

/// to[i] = from[i], rounded (to nearest, ties to even) if To is narrower: a run of n elements, such as a weight being
/// loaded.
template <class From, class To>
struct Convert {
  const From* from = nullptr;
  To* to = nullptr;
  std::size_t n = 0;
};

template <class B>
struct convert {
  static void run(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
