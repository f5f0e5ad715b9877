#pragma once
#include <cstddef>

#include <lamina/core/backend.hpp>
#include <lamina/core/host_device.hpp>

/// One optimizer step on everything that learns, which lies in one run of n fp32 values.
namespace lamina::kernel {

/// What clipping found out, in the backend's memory: the update reads it there, so nobody waits for it.
struct Clip {
  double norm = 0;  ///< L2 of all gradients, summed in double in a fixed order
  float scale = 0;  ///< what gradients are multiplied by: min(1, most / (norm + 1e-6)); 0 where norm is not finite
};

/// What clipping multiplies gradients of a finite norm by, as torch's clip_grad_norm_ does: never scaling up; most 0:
/// no clipping.
LAMINA_HD inline double clip_scale(double norm, double most) {
  const double scale = most > 0 ? most / (norm + 1e-6) : 1;
  return scale < 1 ? scale : 1;
}

/// clip = {norm of g, scale}; most 0: no clipping, scale 1.
struct ClipGradients {
  const float* g = nullptr;
  std::size_t n = 0;
  double most = 0;
  Clip* clip = nullptr;
};

/// AdamW with decoupled decay, fp32 throughout:
///
///     g' = g * clip.scale     m = b1 m + (1 - b1) g'     v = b2 v + (1 - b2) g'^2
///     w = w * decay - step_size * m / (sqrt(v) / v_correction + eps)
///     g = 0,   copy = w rounded to T (where copy is not null)
///
/// decay holds for the first `decayed` values; the others do not decay. Where the norm is not finite, w, m, v and copy
/// stay as they are.
/// source      Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2
template <class T>
struct AdamWStep {
  float *w = nullptr, *g = nullptr, *m = nullptr, *v = nullptr;
  T* copy = nullptr;
  std::size_t n = 0, decayed = 0;
  const Clip* clip = nullptr;
  float b1 = 0, b2 = 0, rest1 = 0, rest2 = 0;  ///< rest = 1 - b, rounded from double
  float eps = 0, decay = 1, step_size = 0, v_correction = 1;
};

/// The half-precision copy of an adapter's matrix inside a folded one (fuse/folded.hpp): to = scale * from, rounded.
template <class T>
struct FoldedCopy {
  const float* from = nullptr;  ///< (rows, cols)
  T* to = nullptr;
  int rows = 0, cols = 0;
  std::ptrdiff_t stride = 0;  ///< of to
  float scale = 1;
};
/// A table of them, in the backend's memory.
template <class T>
struct FoldedCopies {
  const FoldedCopy<T>* table = nullptr;
  int count = 0;
};

template <class B>
struct optimizer {
  static_assert(always_false<B>,
                "optimizer has no kernel for this backend: include <lamina/kernel/cpu/optimizer.hpp> or "
                "<lamina/kernel/cuda/optimizer.cuh>");
  static void clip(auto...) {}
  static void adamw(auto...) {}
  static void copy_folded(auto...) {}
};

}  // namespace lamina::kernel
