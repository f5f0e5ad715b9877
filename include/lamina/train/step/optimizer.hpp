#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/kernel/elementwise/optimizer.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/parallel/gpu/device_group.hpp>
#include <lamina/parallel/share.hpp>

namespace lamina::train {

/// AdamW on the learning run of a model's weights, with its moments in the backend's memory. Vectors (norm gains and
/// biases) are not decayed, as Hugging Face's trainer groups them. Ranks may share the work: each has the moments of
/// its share, updates that, and gets the others' by exchange(). Every rank clips the whole gradient, so that the result
/// is that of one optimizer, bit for bit.
/// source  Rajbhandari et al. 2020, arXiv:1910.02054: the first stage of ZeRO
template <Backend B = Cpu>
class Optimizer {
 public:
  std::int64_t steps = 0;
  static constexpr int most_under_way = 2;  ///< steps that were started and are not finished (TrainSession)

  explicit Optimizer(const parallel::Share& share) : share_(share) {}
  /// An optimizer of all of these weights, its moments 0.
  template <class W>
  Optimizer(const W& weights, Stream<B> stream = {}) : Optimizer(parallel::Share{0, weights.learning_count()}) {
    allocate(weights, stream);
  }
  /// Takes the memory; the moments are 0. The weights have theirs, and their parameters' scales are set.
  template <class W>
  void allocate(const W& weights, Stream<B> stream) {
    block_ = Arena(bytes(share_.count), Memory<B>{});
    exp_avg_ = block_.take<float>(share_.count);
    exp_avg_sq_ = block_.take<float>(share_.count);
    clip_ = block_.take<kernel::Clip>(1);
    numbers_ = block_.take<kernel::OptimizerNumbers>(1);
    Memory<B>::zero(stream, exp_avg_, block_.used_bytes());
    staging_ = Arena::staging(most_under_way * Arena::alignment, Memory<B>{});
    for (auto& staged : staged_) staged = staging_.take<kernel::OptimizerNumbers>(1);
    const auto runs = kernel::value_runs(share_, groups_of(weights.slots()), weights.copies());
    run_count_ = static_cast<int>(runs.size());
    if (runs.empty()) return;
    run_block_ = Arena(runs.size() * sizeof(runs[0]), Memory<B>{});
    runs_ = run_block_.take<std::byte>(runs.size() * sizeof(runs[0]));
    Memory<B>::upload(stream, runs_, runs.data(), runs.size() * sizeof(runs[0]));
  }
  /// For the moments of so many values.
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
    const std::span<float> g = weights.gradients();
    kernel::optimizer<B>::clip(stream, {.g = g.data(), .n = g.size(), .numbers = numbers_, .clip = clip_});
    kernel::optimizer<B>::adamw(stream,
                                kernel::AdamWStep<T>{.w = weights.values(share_).data(),
                                                     .g = g.data() + share_.first,
                                                     .m = exp_avg_,
                                                     .v = exp_avg_sq_,
                                                     .runs = reinterpret_cast<const kernel::ValueRun<T>*>(runs_),
                                                     .count = run_count_,
                                                     .numbers = numbers_,
                                                     .clip = clip_});
    for (const auto others : {g.first(share_.first), g.subspan(share_.end())})
      if (!others.empty()) Memory<B>::zero(stream, others.data(), others.size_bytes());
  }
  /// After a step whose work is shared: every rank has all updated weights, as the model reads them.
  template <class W>
  static void exchange(W& weights, parallel::DeviceGroup<B>& ranks, Stream<B> stream) {
    if constexpr (W::has_copy)
      ranks.exchange_shares(stream, std::as_writable_bytes(weights.copy()), sizeof(typename W::Copy));
    else
      ranks.exchange_shares(stream, std::as_writable_bytes(weights.values()), sizeof(float));
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

  /// The values that it updates.
  const parallel::Share& share() const { return share_; }
  /// Their moments, in the backend's memory.
  std::span<float> exp_avg() { return {exp_avg_, share_.count}; }
  std::span<float> exp_avg_sq() { return {exp_avg_sq_, share_.count}; }

 private:
  /// What is updated alike, in the order of the values: vectors do not decay.
  static std::vector<kernel::ValueGroup> groups_of(std::span<const TensorSlot> slots) {
    std::vector<const TensorSlot*> learning;
    for (const TensorSlot& slot : slots)
      if (slot.learns && slot.spec.count() > 0) learning.push_back(&slot);
    std::sort(learning.begin(), learning.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
    std::vector<kernel::ValueGroup> groups;
    for (const TensorSlot* slot : learning) {
      const kernel::ValueGroup group{slot->offset + static_cast<std::size_t>(slot->spec.count()), slot->rate,
                                     slot->spec.rank > 1};
      if (!groups.empty() && groups.back().rate == group.rate && groups.back().decays == group.decays)
        groups.pop_back();
      groups.push_back(group);
    }
    return groups;
  }

  parallel::Share share_;
  int run_count_ = 0;
  std::byte* runs_ = nullptr;  ///< table of ValueRun
  Arena block_, run_block_, staging_;
  kernel::OptimizerNumbers* numbers_ = nullptr;
  std::array<kernel::OptimizerNumbers*, most_under_way> staged_{};  ///< a step's may still be on their way
  std::size_t sent_ = 0;
  float *exp_avg_ = nullptr, *exp_avg_sq_ = nullptr;
  kernel::Clip* clip_ = nullptr;
};

}  // namespace lamina::train
