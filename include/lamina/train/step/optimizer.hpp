#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/arena.hpp>
#include <lamina/core/optimizer.hpp>
#include <lamina/kernel/elementwise/hashed.hpp>
#include <lamina/kernel/optimizer/dynamic_map.hpp>
#include <lamina/kernel/optimizer/optimizer.hpp>
#include <lamina/parallel/gpu/device_group.hpp>
#include <lamina/parallel/share.hpp>
#include <lamina/train/step/optimizer_state.hpp>

namespace lamina::train {

/// An optimizer of the learning run of a model's weights, with its state in the backend's memory. The model's vectors
/// (norm gains and biases) are not decayed, as Hugging Face's trainer groups them. Ranks may share the work if the rule
/// looks at single values: each has the state of its share, updates that, and gets the others' by exchange(). If every
/// rank has all gradients, each clips them all, so that the result is that of one optimizer, bit for bit; if each has
/// those of its share, ranks join their norms.
/// source  Rajbhandari et al. 2020, arXiv:1910.02054: the first two stages of ZeRO
template <Backend B = Cpu>
class Optimizer {
 public:
  std::int64_t steps = 0;
  static constexpr int most_under_way = 2;  ///< steps that were started and are not finished (TrainSession)

  /// bf16_seed: values and moments are bf16, rounded at random by this seed; unset: they are fp32.
  explicit Optimizer(const parallel::Share& share, OptimizerKind kind = OptimizerKind::adamw,
                     std::optional<std::uint64_t> bf16_seed = {})
      : share_(share), kind_(kind), bf16_seed_(bf16_seed) {
    if (bf16_seed && !is_shareable(kind)) fail("an optimizer in bf16 needs a rule that looks at single values");
  }
  /// An optimizer of all of these weights, its state 0.
  template <class W>
  Optimizer(const W& weights, Stream<B> stream = {}, OptimizerKind kind = OptimizerKind::adamw,
            std::optional<std::uint64_t> bf16_seed = {})
      : Optimizer(parallel::Share{0, weights.learning_count()}, kind, bf16_seed) {
    allocate(weights, stream);
  }
  /// Takes the memory; the state is 0. The weights have theirs, and their parameters' scales are set.
  template <class W>
  void allocate(const W& weights, Stream<B> stream) {
    block_ = Arena(bytes(weights) - muon_work_bytes(weights), Memory<B>{});
    if (kind_ == OptimizerKind::muon) muon_work_ = Arena(muon_work_bytes(weights), Memory<B>{});
    auto* const first = block_.take<std::byte>(0);
    take(weights, block_);
    Memory<B>::zero(stream, first, block_.used_bytes());
    staging_ = Arena::staging(most_under_way * Arena::alignment, Memory<B>{});
    for (auto& staged : staged_) staged = staging_.take<kernel::OptimizerNumbers>(2);
    for (const bool with_signs : {false, true})
      if (has_8bit_moments(kind_)) {
        const auto codes = dynamic_map(with_signs);
        Memory<B>::upload(stream, codes_[with_signs], codes.data(), sizeof codes);
      }
    send_runs(weights, stream);
  }
  /// What allocate() takes of the backend's memory, a table of runs apart.
  template <class W>
  std::size_t bytes(const W& weights) const {
    Arena counting;
    Optimizer(share_, kind_, bf16_seed_).take(weights, counting);
    return counting.used_bytes() + muon_work_bytes(weights);
  }

  /// Clips to a norm of max_gradient_norm (0: does not) and updates; gradients are zero then. Where the norm is not
  /// finite nothing changes. May return before the work is done: finish_step() waits for it.
  template <class W>
  void step(W& weights, const OptimizerSettings& o, double max_gradient_norm, Stream<B> stream) {
    set_numbers(o, max_gradient_norm, stream);
    update(weights, stream);
  }
  /// The same if each rank has the gradients of its share alone.
  template <class W>
  void step(W& weights, std::span<float> own_gradients, const OptimizerSettings& o, double max_gradient_norm,
            parallel::DeviceGroup<B>& ranks, Stream<B> stream) {
    set_numbers(o, max_gradient_norm, stream);
    clip(own_gradients, stream);
    reserve_norms(ranks.size());
    ranks.all_gather(stream, std::as_bytes(std::span(clip_, 1)), std::as_writable_bytes(clips_));
    kernel::optimizer<B>::join(stream, {clips_.data(), ranks.size(), numbers_, clip_});
    update_share(weights, own_gradients, stream);
  }
  /// The first part of step(): counts it and sends its numbers to where update() reads them.
  void set_numbers(const OptimizerSettings& o, double max_gradient_norm, Stream<B> stream) {
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
               .step_size = static_cast<float>(o.learning_rate),
               .v_correction = static_cast<float>(std::sqrt(1 - std::pow(o.beta2, t)))};
    staged[1] = *staged;  // for sgd
    if (kind_ == OptimizerKind::adamw || kind_ == OptimizerKind::adamw_8bit || kind_ == OptimizerKind::muon)
      staged->step_size = static_cast<float>(o.learning_rate / (1 - std::pow(o.beta1, t)));
    if (kind_ == OptimizerKind::muon)  // LLaMA-Factory's adds epsilon before the correction
      staged->eps = static_cast<float>(o.epsilon / std::sqrt(1 - std::pow(o.beta2, t)));
    if (kind_ == OptimizerKind::sgd_momentum) {
      staged->b1 = static_cast<float>(o.momentum);
      staged->rest1 = static_cast<float>(steps == 1 ? 1 : 1 - o.dampening);  // as torch begins
      staged->b2 = o.nesterov ? 1 : 0;
      staged->decay = static_cast<float>(1 - o.weight_decay);
    }
    if (bf16_seed_) staged->draw = kernel::hashed_bits(*bf16_seed_, static_cast<std::uint64_t>(steps));
    if (kind_ == OptimizerKind::adafactor) {
      staged->rest2 = static_cast<float>(std::pow(t, -0.8));
      staged->b2 = static_cast<float>(1 - std::pow(t, -0.8));
    }
    Memory<B>::upload_later(stream, numbers_, staged, 2 * sizeof *staged);
  }
  /// The second part: launches that are the same in every step.
  template <class W>
  void update(W& weights, Stream<B> stream) {
    const std::span<float> g = weights.gradients();
    clip(g, stream);
    precondition(weights, stream);
    orthogonalise(weights, stream);
    update_share(weights, g.subspan(share_.first, share_.count), stream);
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
  OptimizerKind kind() const { return kind_; }
  /// What it remembers, once it has its memory.
  const std::vector<StatePart>& parts() const { return parts_; }

 private:
  void clip(std::span<const float> g, Stream<B> stream) {
    kernel::optimizer<B>::clip(stream, {.g = g.data(), .n = g.size(), .numbers = numbers_, .clip = clip_});
  }
  /// g: the gradients of its share.
  template <class W>
  void update_share(W& weights, std::span<float> g, Stream<B> stream) {
    using T = typename W::Copy;
    if (bf16_seed_) return update_bf16(weights, g, stream);
    kernel::UpdateStep<T> step{.w = weights.values(share_).data(),
                               .g = g.data(),
                               .m = moments(kind_ == OptimizerKind::muon ? 1 : 0),
                               .v = moments(kind_ == OptimizerKind::muon ? 2
                                            : has_8bit_moments(kind_)    ? 3
                                                                         : 1),
                               .runs = reinterpret_cast<const kernel::ValueRun<T>*>(runs_),
                               .count = run_count_,
                               .numbers = numbers_,
                               .clip = clip_};
    kernel::optimizer<B>::update(stream, kind_, step);
    if (has_8bit_moments(kind_)) update_8bit(step, stream);
    if (kind_ == OptimizerKind::muon) update_matrices(step, stream);
  }
  template <class W>
  void update_bf16(W& weights, std::span<float> g, Stream<B> stream) {
    using T = typename W::Copy;
    const auto moments = [&](std::size_t part) {
      return part < parts_.size() ? parts_[part].template at<bf16>() : nullptr;
    };
    kernel::optimizer<B>::update_bf16(
        stream, kind_,
        kernel::UpdateStepBf16<T>{.w = W::has_copy ? nullptr : weights.values(share_).data(),
                                  .g = g.data(),
                                  .m = moments(0),
                                  .v = moments(1),
                                  .runs = reinterpret_cast<const kernel::ValueRun<T>*>(runs_),
                                  .count = run_count_,
                                  .numbers = numbers_,
                                  .clip = clip_});
  }
  /// Memory for what clipping found out on each rank.
  void reserve_norms(int ranks) {
    if (!clips_.empty()) return;
    const auto count = static_cast<std::size_t>(ranks);
    clips_block_ = Arena(count * sizeof(kernel::Clip), Memory<B>{});
    clips_ = {clips_block_.take<kernel::Clip>(count), count};
  }
  /// Takes what is in block_ from an arena.
  template <class W>
  void take(const W& weights, Arena& arena) {
    parts_ =
        state_parts(kind_, weights.slots(), share_, weights.learning_count(), bf16_seed_ ? DType::BF16 : DType::F32);
    for (StatePart& part : parts_) part.data = arena.take<std::byte>(part.count * size_bytes(part.dtype));
    clip_ = arena.take<kernel::Clip>(1);
    numbers_ = arena.take<kernel::OptimizerNumbers>(2);
    for (float*& codes : codes_)
      if (has_8bit_moments(kind_)) codes = arena.take<float>(dynamic_codes);
    std::size_t work = 0;
    tensors_ = kind_ == OptimizerKind::adafactor ? factored(weights.slots()) : std::vector<Factored>();
    for (const Factored& f : tensors_) work = std::max(work, kernel::optimizer<B>::adafactor_bytes(f.tensor));
    auto* const shared = arena.take<std::byte>(work);
    for (Factored& f : tensors_) f.tensor.work = shared;
  }
  /// A tensor of Adafactor, and its first value.
  struct Factored {
    kernel::AdafactorTensor tensor;
    std::size_t first = 0;
  };
  /// Tensors with their state: matrices are over the last two extents.
  std::vector<Factored> factored(std::span<const TensorSlot> slots) const {
    std::vector<Factored> tensors;
    for (std::size_t kind = 0; kind < parts_.size(); ++kind)
      for (std::size_t i = 0; i < parts_[kind].places.size(); ++i) {
        const StatePart::Place& place = parts_[kind].places[i];
        const TensorSpec& spec = slots[place.slot].spec;
        float* const state = parts_[kind].template at<float>(place.first);
        const kernel::AdafactorTensor shared{.numbers = numbers_, .clip = clip_};
        if (kind == 1) {
          tensors[i].tensor.col = state;  // the same tensors as those with rows, in the same order
          continue;
        }
        Factored& f = tensors.emplace_back(Factored{shared, slots[place.slot].offset});
        f.tensor.cols = spec.extents[static_cast<std::size_t>(spec.rank - 1)];
        if (kind == 0) {
          f.tensor.rows = spec.extents[static_cast<std::size_t>(spec.rank - 2)];
          f.tensor.matrices = static_cast<int>(spec.count() / f.tensor.rows / f.tensor.cols);
        }
        (kind == 0 ? f.tensor.row : f.tensor.all) = state;
      }
    return tensors;
  }
  float* moments(std::size_t part) const { return part < parts_.size() ? parts_[part].template at<float>() : nullptr; }

  /// Adafactor: the gradients become what sgd shall subtract.
  template <class W>
  void precondition(W& weights, Stream<B> stream) {
    if (kind_ != OptimizerKind::adafactor) return;
    for (const Factored& f : tensors_) {
      kernel::AdafactorTensor tensor = f.tensor;
      tensor.g = weights.gradients().data() + f.first;
      kernel::optimizer<B>::adafactor(stream, tensor);
    }
    kernel::optimizer<B>::clipped(stream, clip_);
  }
  /// Muon: the gradients of matrices become what sgd shall subtract.
  template <class W>
  void orthogonalise(W& weights, Stream<B> stream) {
    if (kind_ != OptimizerKind::muon) return;
    for (const StatePart::Place& place : parts_[0].places) {
      kernel::MuonTensor matrix = matrix_of(place);
      matrix.g = weights.gradients().data() + weights.slots()[place.slot].offset;
      matrix.m = parts_[0].template at<float>(place.first);
      matrix.clip = clip_, matrix.work = &muon_work_;
      kernel::optimizer<B>::muon(stream, matrix);
    }
  }
  /// Their update, after that of the others: what they have was clipped.
  template <class T>
  void update_matrices(kernel::UpdateStep<T> step, Stream<B> stream) {
    kernel::optimizer<B>::clipped(stream, clip_);
    step.m = step.v = nullptr;
    step.runs += step.count, step.count = other_run_count_, step.numbers += 1;
    kernel::optimizer<B>::update(stream, OptimizerKind::sgd, step);
  }
  static kernel::MuonTensor matrix_of(const StatePart::Place& place) {
    return {.rows = static_cast<int>(place.shape[0]), .cols = static_cast<int>(place.shape[1])};
  }
  template <class W>
  std::size_t muon_work_bytes(const W& weights) const {
    std::size_t most = 0;
    if (kind_ == OptimizerKind::muon)
      for (const StatePart& part : state_parts(kind_, weights.slots(), share_, weights.learning_count()))
        for (const StatePart::Place& place : part.places)
          if (part.name == "momentum_buffer") most = std::max(most, kernel::optimizer<B>::muon_bytes(matrix_of(place)));
    return most;
  }
  template <class T>
  void update_8bit(const kernel::UpdateStep<T>& step, Stream<B> stream) {
    const bool two = parts_.size() > 3;
    kernel::optimizer<B>::update_8bit(
        stream, kind_,
        kernel::UpdateStep8Bit<T>{.w = step.w,
                                  .g = step.g,
                                  .m = parts_[1].template at<std::uint8_t>(),
                                  .v = two ? parts_[4].template at<std::uint8_t>() : nullptr,
                                  .m_most = parts_[2].template at<float>(),
                                  .v_most = two ? parts_[5].template at<float>() : nullptr,
                                  .m_codes = codes_[1],
                                  .v_codes = codes_[0],
                                  .runs = step.runs + step.count,
                                  .count = other_run_count_,
                                  .numbers = numbers_,
                                  .clip = clip_});
  }

  /// The table of runs: those with fp32 moments, then those with 8 bits or, of Muon, of matrices.
  template <class W>
  void send_runs(const W& weights, Stream<B> stream) {
    using Run = kernel::ValueRun<typename W::Copy>;
    std::vector<Run> runs = kernel::value_runs(share_, groups_of(weights.slots()), weights.copies());
    if (is_updated_by_tensor()) {
      for (const std::size_t part : {0, 1}) place_moments(runs, parts_[part], weights.slots());
      const StatePart& apart = parts_[kind_ == OptimizerKind::muon ? 0 : 1];
      const auto wide = [&](const Run& run) { return !in_part(run.first, apart, weights.slots()); };
      run_count_ = static_cast<int>(std::stable_partition(runs.begin(), runs.end(), wide) - runs.begin());
    } else {
      run_count_ = static_cast<int>(runs.size());
    }
    other_run_count_ = static_cast<int>(runs.size()) - run_count_;
    if (runs.empty()) return;
    run_block_ = Arena(runs.size() * sizeof(runs[0]), Memory<B>{});
    runs_ = run_block_.take<std::byte>(runs.size() * sizeof(runs[0]));
    Memory<B>::upload(stream, runs_, runs.data(), runs.size() * sizeof(runs[0]));
  }
  /// The place in a part of the tensor that has a value, which a run begins with; null if it has none there.
  static const StatePart::Place* in_part(std::size_t value, const StatePart& part, std::span<const TensorSlot> slots) {
    const auto after = std::upper_bound(part.places.begin(), part.places.end(), value,
                                        [&](std::size_t v, const auto& p) { return v < slots[p.slot].offset; });
    if (after == part.places.begin()) return nullptr;
    const StatePart::Place& place = *std::prev(after);
    return value < slots[place.slot].offset + place.count() ? &place : nullptr;
  }
  /// Runs of a part's tensors find their moments there.
  static void place_moments(auto& runs, const StatePart& part, std::span<const TensorSlot> slots) {
    for (auto& run : runs)
      if (const auto* place = in_part(run.first, part, slots))
        run.state = place->first + (run.first - slots[place->slot].offset);
  }
  /// Whether one tensor's moments, or its rule, are not like another's.
  bool is_updated_by_tensor() const { return has_8bit_moments(kind_) || kind_ == OptimizerKind::muon; }
  /// What is updated alike, in the order of the values: vectors do not decay, but for LLaMA-Factory's Muon.
  std::vector<kernel::ValueGroup> groups_of(std::span<const TensorSlot> slots) const {
    std::vector<kernel::ValueGroup> groups;
    for (const std::size_t i : learning_slots(slots)) {
      const TensorSlot& slot = slots[i];
      const kernel::ValueGroup group{slot.offset + static_cast<std::size_t>(slot.spec.count()), slot.rate,
                                     slot.decays() || kind_ == OptimizerKind::muon};
      const bool alike = !groups.empty() && groups.back().rate == group.rate && groups.back().decays == group.decays;
      if (alike && !is_updated_by_tensor()) groups.pop_back();
      groups.push_back(group);
    }
    return groups;
  }

  parallel::Share share_;
  OptimizerKind kind_;
  std::optional<std::uint64_t> bf16_seed_;
  std::vector<StatePart> parts_;
  std::vector<Factored> tensors_;
  int run_count_ = 0, other_run_count_ = 0;
  std::byte* runs_ = nullptr;  ///< table of ValueRun
  Arena block_, run_block_, clips_block_, staging_, muon_work_;
  std::span<kernel::Clip> clips_;  ///< of each rank
  kernel::OptimizerNumbers* numbers_ = nullptr;
  std::array<kernel::OptimizerNumbers*, most_under_way> staged_{};  ///< a step's may still be on their way
  std::size_t sent_ = 0;
  std::array<float*, 2> codes_{};  ///< of moments in 8 bits, without and with signs
  kernel::Clip* clip_ = nullptr;
};

}  // namespace lamina::train
