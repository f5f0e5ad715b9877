#pragma once
#include <array>
#include <cmath>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/kernel/optimizer.hpp>
#include <lamina/model/train_session.hpp>

namespace lamina::train {

/// AdamW on the learning run of a model's weights, with its moments in the backend's memory. Vectors (norm gains and
/// biases) are not decayed, as Hugging Face's trainer groups them.
template <Backend B = Cpu>
class Optimizer {
 public:
  std::int64_t steps = 0;
  static constexpr int most_under_way = 2;  ///< steps that were started and are not finished (TrainSession)

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
    numbers_ = block_.take<kernel::OptimizerNumbers>(1);
    Memory<B>::zero(stream, exp_avg_, block_.used_bytes());
    staging_ = Arena::staging(most_under_way * Arena::alignment, Memory<B>{});
    for (auto& staged : staged_) staged = staging_.take<kernel::OptimizerNumbers>(1);
    std::size_t decayed = count_;  // Weights places vectors last
    for (const TensorSlot& slot : weights.slots())
      if (slot.learns && slot.spec.rank == 1) decayed = std::min(decayed, slot.offset);
    const auto runs = kernel::value_runs(count_, decayed, weights.copies());
    run_count_ = static_cast<int>(runs.size());
    if (runs.empty()) return;
    run_block_ = Arena(runs.size() * sizeof(runs[0]), Memory<B>{});
    runs_ = run_block_.take<std::byte>(runs.size() * sizeof(runs[0]));
    Memory<B>::upload(stream, runs_, runs.data(), runs.size() * sizeof(runs[0]));
  }
  static std::size_t bytes(std::size_t count) {
    Arena counting;
    counting.take<float>(count), counting.take<float>(count);
    counting.take<kernel::Clip>(1), counting.take<kernel::OptimizerNumbers>(1);
    return counting.used_bytes();
  }

  /// Clips to a norm of max_gradient_norm (0: does not) and updates; gradients are zero then. Where the norm is not
  /// finite nothing changes. May return before the work is done: finish_step() waits for it.
  template <class W>
  void step(W& weights, const AdamW& o, double max_gradient_norm, Stream<B> stream) {
    set_numbers(o, max_gradient_norm, stream);
    update(weights, stream);
  }
  /// The first part of step(): counts it and sends its numbers to where update() reads them.
  void set_numbers(const AdamW& o, double max_gradient_norm, Stream<B> stream) {
    ++steps;
    const auto t = static_cast<double>(steps);
    kernel::OptimizerNumbers* const staged = staged_[sent_++ % most_under_way];
    *staged = {.most = max_gradient_norm,
               .b1 = static_cast<float>(o.beta1),
               .b2 = static_cast<float>(o.beta2),
               .rest1 = static_cast<float>(1 - o.beta1),
               .rest2 = static_cast<float>(1 - o.beta2),
               .eps = static_cast<float>(o.epsilon),
               .decay = static_cast<float>(1 - o.learning_rate * o.weight_decay),
               .step_size = static_cast<float>(o.learning_rate / (1 - std::pow(o.beta1, t))),
               .v_correction = static_cast<float>(std::sqrt(1 - std::pow(o.beta2, t)))};
    Memory<B>::upload_later(stream, numbers_, staged, sizeof *staged);
  }
  /// The second part: launches that are the same in every step.
  template <class W>
  void update(W& weights, Stream<B> stream) {
    using T = typename W::Copy;
    float* const g = weights.gradients().data();
    kernel::optimizer<B>::clip(stream, {.g = g, .n = count_, .numbers = numbers_, .clip = clip_});
    kernel::optimizer<B>::adamw(stream,
                                kernel::AdamWStep<T>{.w = weights.values().data(),
                                                     .g = g,
                                                     .m = exp_avg_,
                                                     .v = exp_avg_sq_,
                                                     .runs = reinterpret_cast<const kernel::ValueRun<T>*>(runs_),
                                                     .count = run_count_,
                                                     .numbers = numbers_,
                                                     .clip = clip_});
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
  std::size_t count_ = 0;
  int run_count_ = 0;
  std::byte* runs_ = nullptr;  ///< table of ValueRun
  Arena block_, run_block_, staging_;
  kernel::OptimizerNumbers* numbers_ = nullptr;
  std::array<kernel::OptimizerNumbers*, most_under_way> staged_{};  ///< a step's may still be on their way
  std::size_t sent_ = 0;
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
  static constexpr bool remote = Memory<B>::remote;
  std::array<std::span<float>, 3> parts_;
  std::array<std::vector<float>, 3> copies_;
};

}  // namespace lamina::train
