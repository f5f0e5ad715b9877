#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <lamina/data/order/collate.hpp>
#include <lamina/data/order/prefetch.hpp>
#include <lamina/data/sample_stream.hpp>
#include <lamina/parallel/group.hpp>
#include <lamina/train/arguments.hpp>
#include <lamina/train/loop/dataset_source.hpp>
#include <lamina/train/step/source.hpp>

namespace lamina::train {

/// Windows of samples that are streamed. All of max_steps is one epoch to whoever asks for windows. The last window of
/// an epoch of the data may have fewer micro-batches; LLaMA-Factory adds the gradients of those to the next epoch's
/// first step, at full weight. To resume, the rows before are read again.
class StreamSource : public TrainSource {
 public:
  StreamSource(std::unique_ptr<data::SampleStream> stream, data::Preparation preparation, const Arguments& a,
               int workers, const parallel::Place& place = {})
      : stream_(std::move(stream)),
        preparation_(for_ranks(std::move(preparation), a, place)),
        a_(a),
        workers_(workers),
        place_(place) {}

  /// Those that max_steps take, as transformers counts a data set without a length.
  std::int64_t rows() const override {
    return a_.max_steps * a_.gradient_accumulation_steps * place_.size * a_.per_device_train_batch_size;
  }

  void seek(std::int64_t, std::int64_t window) override {
    ahead_.reset();
    made_.clear();
    stream_->restart();
    in_epoch_ = 0;
    for (std::int64_t w = 0; w < window; ++w) draw();
    ahead_.emplace(recipe(), a_.max_steps - window, data::Ahead{.workers = workers_});
  }

  Window next() override {
    auto draft = ahead_ ? ahead_->next() : std::nullopt;
    if (!draft) fail("training data: the run has no further window");
    Window window = detail::to_window(std::move(*draft));
    const std::lock_guard lock(mutex_);
    window.epoch = made_.front().epoch;
    window.warnings.insert(window.warnings.end(), made_.front().notes.begin(), made_.front().notes.end());
    made_.pop_front();
    return window;
  }

  void give_back(Window window) override {
    if (ahead_) ahead_->give_back({.collated = {std::move(window.batch), {}, {}}, .media = {}});
  }

  /// Of the first windows: what memory must hold, as far as can be known.
  LargestWindow largest(int windows) {
    stream_->restart();
    LargestWindow most;
    for (int w = 0; w < windows; ++w) {
      LargestWindow one;
      for (const auto& micro_batch : draw().micro_batches)
        for (const data::EncodedSample& sample : micro_batch) one.add(sample);
      most.include(one);
    }
    return most;
  }

 private:
  using MicroBatches = std::vector<std::vector<data::EncodedSample>>;

  /// A window's samples, which live until it is taken.
  struct Drawn {
    MicroBatches micro_batches;
    std::vector<std::string> notes;
    double epoch = 0;
  };

  /// This rank's part of the next window: the micro-batches are dealt to the ranks in turn. If those that end an epoch
  /// do not suffice for all ranks, the window's first ones serve once more.
  Drawn draw() {
    const auto ranks = static_cast<std::size_t>(place_.size), rank = static_cast<std::size_t>(place_.rank);
    MicroBatches all;
    const std::size_t most = static_cast<std::size_t>(a_.gradient_accumulation_steps) * ranks;
    while (all.size() < most) {
      auto batch = stream_->batch(static_cast<std::size_t>(a_.per_device_train_batch_size), a_.dataloader_drop_last);
      if (!batch.empty()) {
        all.push_back(std::move(batch));
        continue;
      }
      in_epoch_ = 0;
      if (!all.empty()) break;
    }
    if (all.size() == most) ++in_epoch_;
    for (std::size_t first = 0; all.size() % ranks != 0; ++first) all.push_back(all[first]);
    Drawn drawn{.micro_batches = {},
                .notes = stream_->take_notes(),
                .epoch = static_cast<double>(stream_->epoch()) +
                         static_cast<double>(in_epoch_) / static_cast<double>(a_.max_steps)};
    for (std::size_t m = rank; m < all.size(); m += ranks) drawn.micro_batches.push_back(std::move(all[m]));
    return drawn;
  }

  data::WindowRecipe recipe() {
    return {&preparation_, [this](std::int64_t) {
              Drawn drawn = draw();
              const std::lock_guard lock(mutex_);
              made_.push_back(std::move(drawn));
              std::vector<std::vector<const data::EncodedSample*>> micro_batches;
              for (const auto& samples : made_.back().micro_batches) {
                micro_batches.emplace_back();
                for (const data::EncodedSample& sample : samples) micro_batches.back().push_back(&sample);
              }
              return micro_batches;
            }};
  }

  std::unique_ptr<data::SampleStream> stream_;
  const data::Preparation preparation_;
  const Arguments& a_;
  const int workers_;
  const parallel::Place place_;
  std::int64_t in_epoch_ = 0;  // windows drawn of the stream's epoch
  std::mutex mutex_;           // of made_
  std::deque<Drawn> made_;     // windows that were drawn and not taken, in order
  std::optional<data::Prefetch<data::WindowRecipe>> ahead_;
};

}  // namespace lamina::train
