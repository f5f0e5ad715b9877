#pragma once
#include <algorithm>
#include <span>
#include <vector>

#include <lamina/core/gradient/watch.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/parallel/gpu/device_group.hpp>
#include <lamina/parallel/share.hpp>
#include <lamina/train/step/gradients/divided.hpp>

namespace lamina::train {

/// Sums a step's gradients over ranks so that each rank has the sums of its share alone. As soon as backward has
/// completed a stage its values go, on a stream of their own, to the ranks that own them; backward goes on with the
/// next stage meanwhile and waits before it uses the place again. A host's kernels have ended when they return, so
/// there the two take turns. Such steps cannot be recorded, since each rank would record at another step.
template <Backend B>
class GradientScatter {
 public:
  /// weights: they have their memory, laid out as `divided` says, and outlive it. Their stream is that of the steps.
  template <class W>
  GradientScatter(parallel::DeviceGroup<B>& ranks, W& weights, const DividedGradients& divided)
      : block_(weights.gradients()),
        own_(block_.first(parallel::share_of(weights.learning_count(), ranks.rank(), ranks.size()).count)),
        watch_(ranks, weights, divided, *this) {}
  GradientScatter(const GradientScatter&) = delete;
  GradientScatter& operator=(const GradientScatter&) = delete;

  /// What the backward of steps reports to.
  GradientListener* watch() { return &watch_; }
  /// After the launches of a step: what is launched on the stream from here on reads the sums of this rank's share,
  /// which are returned.
  std::span<float> run(Stream<B> stream) {
    beside_.join(stream);
    return own_;
  }

 private:
  class Watch final : public GradientWatch {
   public:
    template <class W>
    Watch(parallel::DeviceGroup<B>& ranks, const W& weights, const DividedGradients& divided, GradientScatter& scatter)
        : GradientWatch(weights.parameters(), divided.stage_of),
          ranks_(ranks),
          stream_(weights.stream()),
          stages_(divided.stages),
          final_(stages_.size()),
          learning_(weights.learning_count()),
          scatter_(scatter) {}
    void begin() override {
      GradientWatch::begin();
      zero(stages_.size() - 1);
      for (std::size_t s = 0; s < std::min<std::size_t>(2, stages_.size() - 1); ++s) zero(s);
    }

   private:
    /// Sends a stage, and clears the place of the next one, which was that of the stage before this.
    void ready(int run) override {
      const auto s = static_cast<std::size_t>(run);
      if (s > 0) scatter_.beside_.join(stream_);
      final_[s].set(stream_);
      scatter_.beside_.wait_for(final_[s]);
      for (const DividedGradients::Piece& piece : stages_[s].pieces) send(piece);
      if (s > 0 && s + 2 < stages_.size()) zero(s + 1);
    }
    /// Each rank gets what it owns of a piece.
    void send(const DividedGradients::Piece& piece) {
      for (int rank = 0; rank < ranks_.size(); ++rank) {
        const parallel::Share owned = parallel::share_of(learning_, rank, ranks_.size());
        const std::size_t first = std::max(owned.first, piece.run.first), end = std::min(owned.end(), piece.run.end());
        if (first >= end) continue;
        const auto values = scatter_.block_.subspan(piece.at + first - piece.run.first, end - first);
        float* const sums = rank == ranks_.rank() ? scatter_.own_.data() + (first - owned.first) : nullptr;
        ranks_.reduce(scatter_.beside_.stream(), values, rank, sums);
      }
    }
    void zero(std::size_t s) {
      Memory<B>::zero(stream_, scatter_.block_.data() + stages_[s].at, stages_[s].count * sizeof(float));
    }

    parallel::DeviceGroup<B>& ranks_;
    Stream<B> stream_;
    std::vector<DividedGradients::Stage> stages_;
    std::vector<typename Device<B>::Mark> final_;
    std::size_t learning_;
    GradientScatter& scatter_;
  };

  std::span<float> block_, own_;
  typename Device<B>::SideStream beside_;
  Watch watch_;
};

}  // namespace lamina::train
