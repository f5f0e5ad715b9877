#pragma once
#include <algorithm>
#include <cstddef>
#include <vector>

#include <lamina/core/backend.hpp>
#include <lamina/core/host/device.hpp>
#include <lamina/kernel/no_kernels.hpp>
#include <lamina/parallel/share.hpp>

/// One optimizer step on everything that learns, which is one run of n fp32 values.
namespace lamina::kernel {

/// What a step's numbers are, in the backend's memory: a step that was captured once reads what lies there now.
struct OptimizerNumbers {
  double most = 0;                             ///< norm that gradients are clipped to; 0: no clipping
  float b1 = 0, b2 = 0, rest1 = 0, rest2 = 0;  ///< rest = 1 - b, rounded from double
  float eps = 0, decay = 1, step_size = 0, v_correction = 1;
};

/// What clipping found out, in the backend's memory: the update reads it there, so nobody waits for it.
struct Clip {
  double norm = 0;       ///< L2 of all gradients, summed in double in a fixed order
  float scale = 0;       ///< what gradients are multiplied by: min(1, most / (norm + 1e-6)); 0 if norm is not finite
  unsigned arrived = 0;  ///< blocks of the launch under way that have added up their part: 0 before and after it
};

/// What clipping multiplies gradients of a finite norm by, as torch's clip_grad_norm_ does: never scaling up; most 0:
/// no clipping.
LAMINA_HD inline double clip_scale(double norm, double most) {
  const double scale = most > 0 ? most / (norm + 1e-6) : 1;
  return scale < 1 ? scale : 1;
}

/// clip = {norm of g, scale}. clip->arrived is 0 before.
struct ClipGradients {
  const float* g = nullptr;
  std::size_t n = 0;
  const OptimizerNumbers* numbers = nullptr;
  Clip* clip = nullptr;
};

/// The place of the half-precision copy of neighbouring values, which the model reads: a row-major matrix of `cols`
/// columns that holds scale * value, rounded. A window of a larger matrix (fuse/folded.hpp) has a stride of its own.
template <class T>
struct ValueCopy {
  std::size_t first = 0, count = 0;  ///< of the values
  T* to = nullptr;                   ///< null: there is no copy
  int cols = 1;
  std::ptrdiff_t stride = 1;
  float scale = 1;
};

/// At most `most` neighbours of the learning values that one ValueCopy holds: what one block updates.
template <class T>
struct ValueRun {
  static constexpr int most = 2048;
  std::size_t first = 0;  ///< of the values that the step updates
  int count = 0, cols = 1;
  std::size_t within = 0;  ///< the first one's place among the elements of the copy
  T* to = nullptr;
  std::ptrdiff_t stride = 1;
  float scale = 1;
  float rate = 1;  ///< of its learning rate over that of the others
  bool decays = false;

  LAMINA_HD T* copy(int i) const {
    const std::size_t at = within + i;
    return to + at / cols * stride + at % cols;
  }
};
/// Neighbouring values that are updated alike: those before `end` that no group before it has.
struct ValueGroup {
  std::size_t end = 0;
  float rate = 1;  ///< of their learning rate over that of the others
  bool decays = true;
};
/// Runs that cover a share of the values, each in one copy or in none, and in one group. Copies and groups are in
/// order. A run counts its values from the share's first.
template <class T>
std::vector<ValueRun<T>> value_runs(const parallel::Share& share, const std::vector<ValueGroup>& groups,
                                    const std::vector<ValueCopy<T>>& copies) {
  std::vector<ValueRun<T>> runs;
  std::size_t at = share.first;
  auto group = groups.begin();
  const auto cover = [&](std::size_t end, const ValueCopy<T>& c) {
    end = std::min(end, share.end());
    while (at < end) {
      while (group->end <= at) ++group;
      const auto count = static_cast<int>(std::min<std::size_t>(std::min(group->end, end) - at, ValueRun<T>::most));
      runs.push_back(
          {at - share.first, count, c.cols, at - c.first, c.to, c.stride, c.scale, group->rate, group->decays});
      at += static_cast<std::size_t>(count);
    }
  };
  for (const ValueCopy<T>& c : copies) {
    cover(c.first, {});
    cover(c.first + c.count, c);
  }
  cover(share.end(), {});
  return runs;
}

/// AdamW with decoupled decay, fp32 throughout:
///
///     g' = g * clip.scale     m = b1 m + (1 - b1) g'     v = b2 v + (1 - b2) g'^2
///     w = w * (1 - rate (1 - decay)) - rate * step_size * m / (sqrt(v) / v_correction + eps)
///     g = 0,   copy = scale * w rounded to T (if there is one)
///
/// w, g, m and v begin at the same value. Runs that do not decay have decay = 1. Where the norm is not finite, w, m, v
/// and copies stay as they are. source      Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2
template <class T>
struct AdamWStep {
  float *w = nullptr, *g = nullptr, *m = nullptr, *v = nullptr;
  const ValueRun<T>* runs = nullptr;  ///< in the backend's memory
  int count = 0;                      ///< of runs
  const OptimizerNumbers* numbers = nullptr;
  const Clip* clip = nullptr;
};

template <class B>
struct optimizer {
  static void clip(auto...) { no_kernels<B>(); }
  static void adamw(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
