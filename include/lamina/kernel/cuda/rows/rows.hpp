#pragma once
#include <lamina/kernel/rows/rows.hpp>

/// The indices of one scatter, and of one scatter_add, are distinct.
template <>
struct lamina::kernel::rows<lamina::Cuda> {
  template <class T>
  static void gather(Stream<Cuda> s, int count, const Rows<T>& a);
  template <class T>
  static void scatter(Stream<Cuda> s, int count, const Rows<T>& a);
  template <class T>
  static void scatter_add(Stream<Cuda> s, int count, const Rows<T>& a);
  template <class T>
  static void zero(Stream<Cuda> s, Matrix<T> y);
};
