#pragma once
#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/gradient/watch.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/parallel/gpu/device_group.hpp>
#include <lamina/parallel/share.hpp>

namespace lamina::train {

/// Neighbours among the learning values whose gradients are summed over ranks in one call, and the run of each tensor
/// (GradientWatch::no_run: it does not learn).
struct GradientBuckets {
  std::vector<parallel::Share> runs;
  std::vector<int> run_of;
};

/// Divides the gradients of tensors into buckets of at least so many values, in the order in which backward completes
/// them: the last layer's matrices first. Vectors of all layers are stored together, so they are the last bucket.
inline GradientBuckets gradient_buckets(std::span<const TensorSlot> slots, std::size_t least_values) {
  GradientBuckets buckets{.runs = {}, .run_of = std::vector<int>(slots.size(), GradientWatch::no_run)};
  std::vector<std::size_t> learning;
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (slots[i].learns && slots[i].spec.count() > 0) learning.push_back(i);
  const auto is_vector = [&](std::size_t i) { return slots[i].spec.rank == 1; };
  std::sort(learning.begin(), learning.end(), [&](std::size_t a, std::size_t b) {
    return is_vector(a) != is_vector(b) ? is_vector(b) : slots[a].offset > slots[b].offset;
  });
  bool vectors = false;
  for (const std::size_t i : learning) {
    if (buckets.runs.empty() || is_vector(i) != vectors || (!vectors && buckets.runs.back().count >= least_values))
      buckets.runs.emplace_back();
    vectors = is_vector(i);
    parallel::Share& run = buckets.runs.back();
    run = {slots[i].offset, run.count + static_cast<std::size_t>(slots[i].spec.count())};
    buckets.run_of[i] = static_cast<int>(buckets.runs.size()) - 1;
  }
  return buckets;
}

/// Sums a step's gradients over ranks: all at once after backward, or in buckets during it, each on a stream of its own
/// as soon as backward has completed it, so that a GPU sends the gradients of upper layers while it computes those of
/// lower ones. A host's kernels have ended when they return, so there the buckets are summed after backward. Launches
/// of the model may be recorded: those of the sums are not, since ranks record at different steps. source  Li et al.
/// 2020, arXiv:2006.15704: PyTorch's DistributedDataParallel
template <Backend B>
class GradientSum {
 public:
  static constexpr std::size_t bucket_values = std::size_t{8} << 20;  ///< 32 MiB

  /// Whether sums during backward are faster: those of many values between hosts. Over NVLink they are not: their
  /// blocks keep more from backward's products than the sums take (bench/RESULTS.md: 95.9 % of twice one GPU, 97.2 %
  /// after backward). A network between hosts is ten times as slow as NVLink.
  static bool pays_during_backward(const parallel::Place& place, std::size_t values) {
    constexpr std::size_t least = std::size_t{64} << 20;  // 256 MiB: 5 ms of a network of 50 GB/s
    return place.local_size < place.size && values >= least;
  }

  /// weights: they have their memory, and outlive it. Their stream is that of the steps.
  template <class W>
  GradientSum(parallel::DeviceGroup<B>& ranks, W& weights, bool during_backward, std::size_t bucket = bucket_values)
      : ranks_(ranks), gradients_(weights.gradients()) {
    if (ranks.size() == 1 || !during_backward) return;
    GradientBuckets buckets = gradient_buckets(weights.slots(), bucket);
    runs_ = std::move(buckets.runs);
    final_ = Marks(runs_.size());
    watch_.emplace(weights, std::move(buckets.run_of), final_);
  }
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  /// What the backward of steps reports to; null: nothing.
  GradientWatch* watch() { return watch_ ? &*watch_ : nullptr; }
  /// After the launches of a step: what is launched on the stream from here on reads the sums.
  void run(Stream<B> stream) {
    if (!watch_) return ranks_.all_reduce(stream, gradients_);
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      beside_.wait_for(final_[i]);
      ranks_.all_reduce(beside_.stream(), gradients_.subspan(runs_[i].first, runs_[i].count));
    }
    beside_.join(stream);
  }

 private:
  using Marks = std::vector<typename Device<B>::Mark>;
  /// Marks the launches after which a bucket is final.
  class Watch final : public GradientWatch {
   public:
    template <class W>
    Watch(const W& weights, std::vector<int> run_of, Marks& final_marks)
        : GradientWatch(weights.parameters(), std::move(run_of)), stream_(weights.stream()), final_(final_marks) {}

   private:
    void ready(int run) override { final_[static_cast<std::size_t>(run)].set(stream_); }
    Stream<B> stream_;
    Marks& final_;
  };

  parallel::DeviceGroup<B>& ranks_;
  std::span<float> gradients_;
  std::vector<parallel::Share> runs_;
  Marks final_;
  typename Device<B>::SideStream beside_;
  std::optional<Watch> watch_;
};

}  // namespace lamina::train
