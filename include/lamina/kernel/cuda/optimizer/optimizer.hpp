#pragma once
#include <lamina/kernel/optimizer/optimizer.hpp>

/// A launch for the norm, one for the update and all copies. Adafactor and Muon: some for each tensor.
template <>
struct lamina::kernel::optimizer<lamina::Cuda> {
  static void clip(Stream<Cuda> s, const ClipGradients& a);
  static void clipped(Stream<Cuda> s, Clip* clip);
  static void join(Stream<Cuda> s, const JoinClips& a);
  template <class T>
  static void update(Stream<Cuda> s, OptimizerKind kind, const UpdateStep<T>& a);
  template <class T>
  static void update_8bit(Stream<Cuda> s, OptimizerKind kind, const UpdateStep8Bit<T>& a);
  template <class T>
  static void update_bf16(Stream<Cuda> s, OptimizerKind kind, const UpdateStepBf16<T>& a);
  static void adafactor(Stream<Cuda> s, const AdafactorTensor& a);
  static void muon(Stream<Cuda> s, const MuonTensor& a);
  static std::size_t muon_bytes(const MuonTensor&);

  static constexpr int blocks = 512;  ///< partial sums of clip()
  static std::size_t workspace_bytes(const ClipGradients&) { return blocks * sizeof(double); }
  static constexpr int splits = 32;  ///< of a matrix's rows, whose partial sums of columns are added up
  static std::size_t adafactor_bytes(const AdafactorTensor& a) {
    const std::size_t floats = a.all ? 0 : std::size_t(a.matrices) * (1 + std::size_t{splits} * std::size_t(a.cols));
    return blocks * sizeof(double) + floats * sizeof(float);
  }
};
