#pragma once
#include <cstddef>
#include <lamina/kernel/norm/norm_rope.hpp>

/// A few lanes hold a head in registers; head_dim is even and at most 256.
///
/// backward    finds r again instead of reading it; dg is added up in a fixed order
template <>
struct lamina::kernel::norm_rope<lamina::Cuda> {
  template <class T>
  static void forward(Stream<Cuda> s, const NormRopeFwd<T>& a);
  template <class T>
  static void forward(Stream<Cuda> s, const NormRopeFwd<T>& q, const NormRopeFwd<T>& k);
  template <class T>
  static void backward(Stream<Cuda> s, const NormRopeBwd<T>& a);

  static constexpr int max_gain_runs = 1024;  ///< runs of rows whose shares of dg are added up side by side, at most
  template <class T>
  static std::size_t workspace_bytes(const NormRopeFwd<T>&) {
    return 0;
  }
  template <class T>
  static std::size_t workspace_bytes(const NormRopeBwd<T>& a) {
    return a.dg ? static_cast<std::size_t>(max_gain_runs) * a.head_dim * sizeof(float) : 0;
  }
};
