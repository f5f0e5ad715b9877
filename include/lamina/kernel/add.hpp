#pragma once
#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/view.hpp>

namespace lamina::kernel {

/// forward: y += x, both (N, D), the sum rounded once.   copy: y = x.
template <class T>
struct Add {
  Matrix<const T> x;
  Matrix<T> y;
};

template <class B>
struct add {
  static_assert(always_false<B>, "add has no kernel for this backend: include <lamina/kernel/cpu/add.hpp>");
  static void forward(auto...) {}
  static void copy(auto...) {}
};

}  // namespace lamina::kernel
