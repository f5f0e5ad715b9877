#pragma once
#include <lamina/core/grouped.hpp>
#include <lamina/kernel/matmul/matmul.hpp>

/// The products of matmul.hpp if rows are sorted into groups and each group has a matrix of its own, `step` after that
/// of the group before it: experts. The number of a group's rows is known to the backend alone; it may be 0.
namespace lamina::kernel {

/// y = alpha * x W_g^T + bias_g + beta * y, g the row's group.
template <class T>
struct GroupedFwd {
  MatmulFwd<T> product;  ///< all rows; the matrix and the bias of group 0
  RowGroups groups;
  GroupStep step;
  std::ptrdiff_t bias_step = 0;  ///< bytes
};
/// dx = alpha * dy W_g + beta * dx.
template <class T>
struct GroupedBwdInput {
  MatmulBwdInput<T> product;
  RowGroups groups;
  GroupStep step;
};
/// dW_g += alpha * dy^T x and db_g += column sums of dy, of the group's rows.
template <class T>
struct GroupedBwdWeight {
  MatmulBwdWeight<T> product;
  RowGroups groups;
  std::ptrdiff_t step = 0, bias_step = 0;  ///< bytes
};

template <class B>
struct grouped_matmul {
  static void forward(auto...) { no_kernels<B>(); }
  static void backward_input(auto...) { no_kernels<B>(); }
  static void backward_weight(auto...) { no_kernels<B>(); }
};

namespace detail {
/// What is so many steps of bytes after p.
template <class T>
LAMINA_HD T* stepped(T* p, std::ptrdiff_t step, int groups) {
  using Byte = std::conditional_t<std::is_const_v<T>, const std::byte, std::byte>;
  return p ? reinterpret_cast<T*>(reinterpret_cast<Byte*>(p) + step * groups) : p;
}
inline Weight stepped(Weight w, GroupStep step, int groups) {
  w.data = static_cast<const std::byte*>(w.data) + step.bytes * groups;
  if (w.quantized) w.quantized += step.quantized * groups;
  return w;
}
}  // namespace detail

}  // namespace lamina::kernel
