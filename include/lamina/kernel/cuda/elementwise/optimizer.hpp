#pragma once
#include <lamina/kernel/elementwise/optimizer.hpp>

/// A launch for the norm, one for the update and all copies.
template <>
struct lamina::kernel::optimizer<lamina::Cuda> {
  static void clip(Stream<Cuda> s, const ClipGradients& a);
  template <class T>
  static void adamw(Stream<Cuda> s, const AdamWStep<T>& a);

  static constexpr int blocks = 512;  ///< partial sums of clip()
  static std::size_t workspace_bytes(const ClipGradients&) { return blocks * sizeof(double); }
};
