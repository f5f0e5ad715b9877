#pragma once
#include <lamina/kernel/optimizer.hpp>

template <>
struct lamina::kernel::optimizer<lamina::Cuda> {
  static void clip(Stream<Cuda> s, const ClipGradients& a);
  template <class T>
  static void copy_folded(Stream<Cuda> s, const FoldedCopies<T>& a);
  template <class T>
  static void adamw(Stream<Cuda> s, const AdamWStep<T>& a);

  static constexpr int blocks = 1024;  ///< partial sums of clip()
  static std::size_t workspace_bytes(const ClipGradients&) { return blocks * sizeof(double); }
};
