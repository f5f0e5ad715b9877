#pragma once
#include <lamina/kernel/norm/norm_rows.hpp>

template <>
struct lamina::kernel::norm_rows<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const NormRowsFwd<T>& a);
  template <class T>
  static void backward(Stream<Cuda> s, const NormRowsBwd<T>& a);

  /// Maximum number of runs of rows whose shares of dg and db are added up next to each other; then they are added up
  /// in order.
  static constexpr int most_gain_runs = 1024;
  template <class T>
  static std::size_t workspace_bytes(const NormRowsBwd<T>& a) {
    return a.dg ? 2 * most_gain_runs * static_cast<std::size_t>(a.width) * sizeof(float) : 0;
  }
};
