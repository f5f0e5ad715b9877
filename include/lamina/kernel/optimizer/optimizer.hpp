#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <lamina/core/arena.hpp>
#include <lamina/core/backend.hpp>
#include <lamina/core/host/device.hpp>
#include <lamina/core/optimizer.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/kernel/no_kernels.hpp>
#include <lamina/parallel/share.hpp>

/// One optimizer step on everything that learns, which is one run of n fp32 values.
namespace lamina::kernel {

/// What a step's numbers are, in the backend's memory: a step that was captured once reads what is stored there now.
struct OptimizerNumbers {
  double most = 0;                             ///< norm that gradients are clipped to; 0: no clipping
  float b1 = 0, b2 = 0, rest1 = 0, rest2 = 0;  ///< rest = 1 - b, rounded from double
  float eps = 0, decay = 1, step_size = 0, v_correction = 1;
  std::uint64_t draw = 0;  ///< of the step's random bits
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

/// Joins what clipping found out of parts of the gradients: clip = {norm of all parts, scale}. Every rank that joins
/// the same parts gets the same bits.
struct JoinClips {
  const Clip* parts = nullptr;  ///< (count)
  int count = 0;
  const OptimizerNumbers* numbers = nullptr;
  Clip* clip = nullptr;
};
LAMINA_HD inline Clip joined(const JoinClips& a) {
  double sum_sq = 0;
  for (int i = 0; i < a.count; ++i) sum_sq += a.parts[i].norm * a.parts[i].norm;
  const double norm = std::sqrt(sum_sq);
  return {norm, std::isfinite(norm) ? static_cast<float>(clip_scale(norm, a.numbers->most)) : 0};
}

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
  std::size_t state = 0;  ///< the first one's place among the moments
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
      const std::size_t first = at - share.first;
      runs.push_back({first, first, count, c.cols, at - c.first, c.to, c.stride, c.scale, group->rate, group->decays});
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

/// The step of an optimizer that treats every value alike, fp32 throughout; rules.hpp has the equations:
///
///     g' = g * clip.scale     kept = 1 - rate (1 - decay)     w, m, v by the rule from g'
///     g = 0,                  copy = scale * w rounded to T (if there is one)
///
/// w and g begin at the same value; m and v are null if the rule has none. Runs that do not decay have kept = 1. Where
/// the norm is not finite, w, m, v and copies stay as they are.
template <class T>
struct UpdateStep {
  float *w = nullptr, *g = nullptr, *m = nullptr, *v = nullptr;
  const ValueRun<T>* runs = nullptr;  ///< in the backend's memory
  int count = 0;                      ///< of runs
  const OptimizerNumbers* numbers = nullptr;
  const Clip* clip = nullptr;
};

/// The same with moments in 8 bits (dynamic_map.hpp). A block of them shares the factor at its index in m_most and
/// v_most; each run's moments begin with a block.
template <class T>
struct UpdateStep8Bit {
  float *w = nullptr, *g = nullptr;
  std::uint8_t *m = nullptr, *v = nullptr;
  float *m_most = nullptr, *v_most = nullptr;
  const float *m_codes = nullptr, *v_codes = nullptr;  ///< dynamic_map() with signs, and without
  const ValueRun<T>* runs = nullptr;
  int count = 0;
  const OptimizerNumbers* numbers = nullptr;
  const Clip* clip = nullptr;
};

/// The same with values in bf16 alone (pure_bf16): in their run's copy, of scale 1. If a run has no copy they are in w,
/// as fp32 numbers that bf16 can hold. Values and moments are rounded at random (at_random.hpp).
template <class T>
struct UpdateStepBf16 {
  float *w = nullptr, *g = nullptr;
  bf16 *m = nullptr, *v = nullptr;
  const ValueRun<T>* runs = nullptr;
  int count = 0;
  const OptimizerNumbers* numbers = nullptr;
  const Clip* clip = nullptr;
};

/// What Adafactor makes of a tensor's gradient, in place, for an update by sgd. The tensor is `matrices` of rows x
/// cols:
///
///     s = (g * clip.scale)^2 + 1e-30      R = b2 R + (1 - b2) mean over a row of s      C: the same of columns
///     u = g' / sqrt(R C / mean(R))        g = u / max(1, root mean square of u)
///
/// `all` instead of R and C, if there is any, has a mean of s for every value. Where the norm is not finite nothing
/// changes. b2 = 1 - step^-0.8. source      Shazeer & Stern 2018, arXiv:1804.04235, algorithms 4 and 5
struct AdafactorTensor {
  float* g = nullptr;
  int matrices = 1, rows = 1, cols = 1;
  float *row = nullptr, *col = nullptr;  ///< R: (matrices, rows), C: (matrices, cols)
  float* all = nullptr;                  ///< (matrices, rows, cols)
  std::byte* work = nullptr;             ///< adafactor_bytes() of values from one launch to the next
  const OptimizerNumbers* numbers = nullptr;
  const Clip* clip = nullptr;
  std::size_t count() const { return std::size_t(matrices) * std::size_t(rows) * std::size_t(cols); }
};
inline constexpr float adafactor_eps = 1e-30f;

/// What Muon makes of a matrix's gradient, in place, for an update by sgd:
///
///     m = momentum m + g'      X = g' + momentum m, transposed if it has more rows than columns      X = X / (|X| +
///     eps) five times:      A = X X^T      X = a X + (b A + c A A) X                    g = 0.2 sqrt(max(rows, cols))
///     X
///
/// with g' = g * clip.scale. X and A are bf16, sums fp32. Where the norm is not finite nothing changes. Singular values
/// of X come near 1, between about 0.7 and 1.2.
/// source  Jordan et al. 2024, kellerjordan.github.io/posts/muon; the factor of g: Liu et al. 2025, arXiv:2502.16982,
///         section 2.2
struct MuonTensor {
  static constexpr float momentum = 0.95f, eps = 1e-7f, a = 3.4445f, b = -4.7750f, c = 2.0315f;
  static constexpr int iterations = 5;
  float *g = nullptr, *m = nullptr;  ///< (rows, cols)
  int rows = 1, cols = 1;
  const Clip* clip = nullptr;
  Arena* work = nullptr;  ///< muon_bytes() for what is needed meanwhile
  std::size_t count() const { return std::size_t(rows) * std::size_t(cols); }
  float scale() const { return 0.2f * std::sqrt(static_cast<float>(std::max(rows, cols))); }
};

template <class B>
struct optimizer {
  static void clip(auto...) { no_kernels<B>(); }
  static void update(auto...) { no_kernels<B>(); }
  static void update_8bit(auto...) { no_kernels<B>(); }
  static void update_bf16(auto...) { no_kernels<B>(); }
  static void adafactor(auto...) { no_kernels<B>(); }
  static std::size_t adafactor_bytes(const AdafactorTensor&) { return 0; }
  static void muon(auto...) { no_kernels<B>(); }
  static std::size_t muon_bytes(const MuonTensor&) { return 0; }
  /// Gradients were clipped: clip.scale = 1.
  static void clipped(auto...) { no_kernels<B>(); }
  static void join(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
