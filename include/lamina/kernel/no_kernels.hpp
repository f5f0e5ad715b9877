#pragma once
#include <lamina/core/backend.hpp>

namespace lamina::kernel {

/// What an operation calls that no included header implements for a backend. One function for all operations: a program
/// without kernels uses many of them, and has one error.
template <class B>
constexpr void no_kernels() {
  static_assert(
      always_false<B>,
      "a model runs here, but its operations have no kernel for this backend: include <lamina/kernel/cpu.hpp> "
      "for Cpu, <lamina/kernel/cuda.hpp> for Cuda (in a .cu file <lamina/kernel/cuda.cuh>)");
}

}  // namespace lamina::kernel
