#pragma once
#include <lamina/kernel/cpu/matmul/matmul.hpp>
#include <lamina/kernel/matmul/grouped_matmul.hpp>

/// One product after another, each of a group's rows.
template <>
struct lamina::kernel::grouped_matmul<lamina::Cpu> {
  template <class T>
  static void forward(Stream<Cpu> s, const GroupedFwd<T>& a);
  template <class T>
  static void backward_input(Stream<Cpu> s, const GroupedBwdInput<T>& a);
  template <class T>
  static void backward_weight(Stream<Cpu> s, const GroupedBwdWeight<T>& a);

 private:
  /// f(group, its first row, its rows) of those that have rows.
  template <class F>
  static void each_group(RowGroups groups, F f) {
    for (int g = 0, first = 0; g < groups.count; first = groups.ends[g++])
      if (groups.ends[g] > first) f(g, first, groups.ends[g] - first);
  }
};

template <class T>
void lamina::kernel::grouped_matmul<lamina::Cpu>::forward(Stream<Cpu> s, const GroupedFwd<T>& a) {
  each_group(a.groups, [&](int g, int first, int count) {
    MatmulFwd<T> own = a.product;
    own.x = own.x.row_range(first, count), own.y = own.y.row_range(first, count);
    own.w = detail::stepped(own.w, a.step, g), own.bias = detail::stepped(own.bias, a.bias_step, g);
    matmul<Cpu>::forward(s, own);
  });
}
template <class T>
void lamina::kernel::grouped_matmul<lamina::Cpu>::backward_input(Stream<Cpu> s, const GroupedBwdInput<T>& a) {
  each_group(a.groups, [&](int g, int first, int count) {
    MatmulBwdInput<T> own = a.product;
    own.dy = own.dy.row_range(first, count), own.dx = own.dx.row_range(first, count);
    own.w = detail::stepped(own.w, a.step, g);
    matmul<Cpu>::backward_input(s, own);
  });
}
template <class T>
void lamina::kernel::grouped_matmul<lamina::Cpu>::backward_weight(Stream<Cpu> s, const GroupedBwdWeight<T>& a) {
  each_group(a.groups, [&](int g, int first, int count) {
    MatmulBwdWeight<T> own = a.product;
    own.dy = own.dy.row_range(first, count), own.x = own.x.row_range(first, count);
    own.dw.data = detail::stepped(own.dw.data, a.step, g), own.db = detail::stepped(own.db, a.bias_step, g);
    matmul<Cpu>::backward_weight(s, own);
  });
}
