#pragma once
#include <cmath>
#include <vector>

#include <lamina/compose/weights.hpp>
#include <lamina/kernel/optimizer.hpp>
#include <lamina/model/session.hpp>

namespace lamina::train {

/// AdamW on the learning run of a model's weights, with its moments in the backend's memory. Vectors (norm gains and
/// biases) are not decayed, as Hugging Face's trainer groups them.
template <Backend B = Cpu>
class Optimizer {
 public:
  std::int64_t steps = 0;

  explicit Optimizer(std::size_t count) : count_(count) {}
  /// An optimizer of these weights, its moments 0.
  template <class W>
  Optimizer(const W& weights, Stream<B> stream = {}) : Optimizer(weights.learning_count()) {
    allocate(weights, stream);
  }
  /// Takes the memory; the moments are 0. The weights have theirs, and their parameters' scales are set.
  template <class W>
  void allocate(const W& weights, Stream<B> stream) {
    block_ = Arena(bytes(count_), Memory<B>{});
    exp_avg_ = block_.take<float>(count_);
    exp_avg_sq_ = block_.take<float>(count_);
    clip_ = block_.take<kernel::Clip>(1);
    Memory<B>::zero(stream, exp_avg_, block_.used_bytes());
    if constexpr (W::has_copy) {
      const auto copies = weights.folded_copies();
      folded_block_ = Arena(copies.size() * sizeof(copies[0]), Memory<B>{});
      folded_ = folded_block_.template take<std::byte>(copies.size() * sizeof(copies[0]));
      folded_count_ = static_cast<int>(copies.size());
      if (folded_count_ > 0) Memory<B>::upload(stream, folded_, copies.data(), copies.size() * sizeof(copies[0]));
    }
    decayed_ = count_;  // Weights places vectors last
    for (const TensorSlot& slot : weights.slots())
      if (slot.learns && slot.spec.rank == 1) decayed_ = std::min(decayed_, slot.offset);
  }
  static std::size_t bytes(std::size_t count) {
    Arena counting;
    counting.take<float>(count), counting.take<float>(count), counting.take<kernel::Clip>(1);
    return counting.used_bytes();
  }

  /// Clips to a norm of max_gradient_norm (0: does not) and updates; gradients are zero then. Where the norm is not
  /// finite nothing changes. May return before the work is done: finish_step() waits for it.
  template <class W>
  void step(W& weights, const AdamW& o, double max_gradient_norm, Stream<B> stream) {
    kernel::optimizer<B>::clip(
        stream, {.g = weights.gradients().data(), .n = count_, .most = max_gradient_norm, .clip = clip_});
    ++steps;
    const auto t = static_cast<double>(steps);
    using T = typename W::Copy;
    kernel::optimizer<B>::adamw(
        stream, kernel::AdamWStep<T>{.w = weights.values().data(),
                                     .g = weights.gradients().data(),
                                     .m = exp_avg_,
                                     .v = exp_avg_sq_,
                                     .copy = weights.copy().data(),
                                     .n = count_,
                                     .decayed = decayed_,
                                     .clip = clip_,
                                     .b1 = static_cast<float>(o.beta1),
                                     .b2 = static_cast<float>(o.beta2),
                                     .rest1 = static_cast<float>(1 - o.beta1),
                                     .rest2 = static_cast<float>(1 - o.beta2),
                                     .eps = static_cast<float>(o.epsilon),
                                     .decay = static_cast<float>(1 - o.learning_rate * o.weight_decay),
                                     .step_size = static_cast<float>(o.learning_rate / (1 - std::pow(o.beta1, t))),
                                     .v_correction = static_cast<float>(std::sqrt(1 - std::pow(o.beta2, t)))});
    if constexpr (W::has_copy)
      kernel::optimizer<B>::copy_folded(
          stream, kernel::FoldedCopies<T>{reinterpret_cast<const kernel::FoldedCopy<T>*>(folded_), folded_count_});
  }
  /// The gradients' norm before clipping, in the step that ran last.
  double finish_step(Stream<B> stream) {
    kernel::Clip clip;
    Memory<B>::download(stream, &clip, clip_, sizeof clip);
    return finish_with(clip);
  }
  /// The same of what clip() held after the step, for who downloads it.
  double finish_with(const kernel::Clip& clip) {
    if (!std::isfinite(clip.norm)) --steps;
    return clip.norm;
  }
  /// In the backend's memory.
  const kernel::Clip* clip() const { return clip_; }

  /// The moments, in the backend's memory.
  std::span<float> exp_avg() { return {exp_avg_, count_}; }
  std::span<float> exp_avg_sq() { return {exp_avg_sq_, count_}; }

 private:
  std::size_t count_ = 0, decayed_ = 0;
  int folded_count_ = 0;
  std::byte* folded_ = nullptr;  ///< table of FoldedCopy
  Arena block_, folded_block_;
  float *exp_avg_ = nullptr, *exp_avg_sq_ = nullptr;
  kernel::Clip* clip_ = nullptr;
};

/// What a checkpoint holds of weights and moments, where the host reads and writes it: on Cpu the thing itself, else a
/// copy.
template <Backend B>
class HostState {
 public:
  template <class W>
  void read(W& weights, Optimizer<B>& optimizer, Stream<B> stream) {
    const std::array<std::span<float>, 3> live = {weights.values(), optimizer.exp_avg(), optimizer.exp_avg_sq()};
    for (std::size_t i = 0; i < live.size(); ++i) {
      parts_[i] = live[i];
      if constexpr (remote) {
        copies_[i].resize(live[i].size());
        Memory<B>::download(stream, copies_[i].data(), live[i].data(), live[i].size_bytes());
        parts_[i] = copies_[i];
      }
    }
  }
  /// Takes over what was written to the spans since read().
  template <class W>
  void write(W& weights, Optimizer<B>& optimizer, Stream<B> stream) {
    if constexpr (remote) {
      for (const TensorSlot& slot : weights.slots())
        if (slot.learns)
          weights.fill(
              slot, [&](std::span<std::byte> to) { std::memcpy(to.data(), values().data() + slot.offset, to.size()); });
      Memory<B>::upload(stream, optimizer.exp_avg().data(), exp_avg().data(), exp_avg().size_bytes());
      Memory<B>::upload(stream, optimizer.exp_avg_sq().data(), exp_avg_sq().data(), exp_avg_sq().size_bytes());
    }
  }
  std::span<float> values() { return parts_[0]; }
  std::span<float> exp_avg() { return parts_[1]; }
  std::span<float> exp_avg_sq() { return parts_[2]; }

 private:
  static constexpr bool remote = !std::is_same_v<B, Cpu>;
  std::array<std::span<float>, 3> parts_;
  std::array<std::vector<float>, 3> copies_;
};

}  // namespace lamina::train
