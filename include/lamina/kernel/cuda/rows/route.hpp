#pragma once
#include <lamina/kernel/rows/route.hpp>

template <>
struct lamina::kernel::route<lamina::Cuda> {
  template <class T>
  static void choose(Stream<Cuda> s, const RouteChoose<T>& a);
  static void sort(Stream<Cuda> s, const RouteSort& a);
  /// Sums of pieces of each part, added in their order.
  static constexpr int sum_pieces = 32;
  template <class T>
  static std::size_t workspace_bytes(const RouteSums<T>& a) {
    return sizeof(float) * sum_pieces * static_cast<std::size_t>(a.to.parts) * static_cast<std::size_t>(a.to.each);
  }
  template <class T>
  static void sum(Stream<Cuda> s, const RouteSums<T>& a);
  template <class T>
  static void combine(Stream<Cuda> s, const RouteCombine<T>& a);
  template <class T>
  static void split(Stream<Cuda> s, const RouteSplit<T>& a);
  template <class T>
  static void backward(Stream<Cuda> s, const RouteBwd<T>& a);
};
