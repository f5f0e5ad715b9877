#pragma once
#include <lamina/kernel/rows/route.hpp>

template <>
struct lamina::kernel::route<lamina::Cuda> {
  template <class T>
  static void choose(Stream<Cuda> s, const RouteChoose<T>& a);
  static void sort(Stream<Cuda> s, const RouteSort& a);
  template <class T>
  static void combine(Stream<Cuda> s, const RouteCombine<T>& a);
  template <class T>
  static void split(Stream<Cuda> s, const RouteSplit<T>& a);
  template <class T>
  static void backward(Stream<Cuda> s, const RouteBwd<T>& a);
};
