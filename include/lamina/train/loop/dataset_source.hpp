#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <lamina/data/dataset.hpp>
#include <lamina/data/order/collate.hpp>
#include <lamina/data/order/epoch_sampler.hpp>
#include <lamina/data/order/prefetch.hpp>
#include <lamina/parallel/group.hpp>
#include <lamina/train/arguments.hpp>
#include <lamina/train/loop/schedule.hpp>
#include <lamina/train/step/source.hpp>

namespace lamina::train {

/// The arguments that the data part reads.
inline data::DataOptions data_options(const Arguments& a) {
  data::DataOptions o;
  o.template_name = a.template_name;
  if (a.do_train) o.dataset = a.dataset;
  o.eval_dataset = a.eval_dataset;
  o.eval_on_each_dataset = a.eval_on_each_dataset;
  if (a.val_size > 0) o.dataset = a.dataset;
  o.dataset_dir = a.dataset_dir;
  o.media_dir = a.media_dir;
  o.hub = a.hub;
  o.hub.revision.clear();  // model_revision is the model's
  o.cutoff_len = a.cutoff_len;
  o.train_on_prompt = a.train_on_prompt;
  o.mask_history = a.mask_history;
  o.max_samples = a.max_samples;
  o.val_size = a.val_size;
  o.mix_strategy = a.mix_strategy;
  o.interleave_probs = a.interleave_probs;
  o.buffer_size = a.buffer_size;
  o.stream_workers = std::max(1, a.dataloader_num_workers);
  o.default_system = a.default_system;
  o.enable_thinking = a.enable_thinking;
  o.preserve_thinking = a.preserve_thinking;
  o.stage = a.stage == "pt"    ? data::Stage::pt
            : a.stage == "dpo" ? data::Stage::dpo
            : a.stage == "kto" ? data::Stage::kto
                               : data::Stage::sft;
  o.packing = a.packing;
  o.neat_packing = a.neat_packing;
  o.preprocessing_batch_size = a.preprocessing_batch_size;
  o.preprocessing_num_workers = a.preprocessing_num_workers.value_or(1);
  o.images = {.max_pixels = a.image_max_pixels, .min_pixels = a.image_min_pixels};
  o.videos = {.frames = {.max_pixels = a.video_max_pixels, .min_pixels = a.video_min_pixels},
              .fps = a.video_fps,
              .maxlen = a.video_maxlen};
  o.seed = a.seed;
  o.evaluate = a.evaluates_loss() || !a.generates();
  o.predict = a.generates();
  o.skip_bad_samples = a.skip_bad_samples;
  return o;
}

/// Threads that make windows: as many as dataloader_num_workers says; if a device trains and this process's processors
/// are free, all but two of them if that is more, at most 16. The windows are the same for every number.
inline int data_workers(int dataloader_num_workers, bool on_device, int processors) {
  return on_device ? std::max(dataloader_num_workers, std::clamp(processors - 2, 1, 16)) : dataloader_num_workers;
}

namespace detail {
inline Window to_window(data::Draft draft) {
  data::Collated& c = draft.collated;
  return {std::move(c.batch), std::move(c.origins), std::move(c.warnings)};
}
}  // namespace detail

/// What samples are grouped by: LLaMA-Factory fills packed ones up to one length.
inline std::vector<int> lengths_of(const std::vector<data::EncodedSample>& samples, const Arguments& a) {
  std::vector<int> lengths;
  for (const data::EncodedSample& s : samples)
    lengths.push_back(a.packs() ? a.cutoff_len : static_cast<int>(s.ids.size()));
  return lengths;
}

/// What samples cost, about, in tokens of text: the patches behind a token of an image cost as much once more.
inline std::vector<std::int64_t> costs_of(const std::vector<data::EncodedSample>& samples, VisionTokens vision_tokens) {
  std::vector<std::int64_t> costs;
  for (const data::EncodedSample& s : samples)
    costs.push_back(std::ssize(s.ids) + std::count_if(s.ids.begin(), s.ids.end(), vision_tokens));
  return costs;
}

/// Tokens, sequences and patches of a window.
struct LargestWindow {
  std::int64_t tokens = 0, sequences = 0, patches = 0;

  void add(const data::EncodedSample& sample) {
    tokens += static_cast<std::int64_t>(sample.ids.size());
    patches += data::patches_of(sample);
    sequences += sample.sequence_count();
  }
  void include(const LargestWindow& other) {
    tokens = std::max(tokens, other.tokens);
    sequences = std::max(sequences, other.sequences);
    patches = std::max(patches, other.patches);
  }
};

/// A preparation of windows that ranks share.
inline data::Preparation for_ranks(data::Preparation preparation, const Arguments& a, const parallel::Place& place) {
  preparation.ranks = place.size;
  preparation.labels_weigh_alike = a.use_dft_loss;
  if (a.use_dft_loss && place.size > 1)
    fail("use_dft_loss: its labels weigh alike in all of a step, and the processes do not know of each other's: run ",
         "one process");
  if (a.stage == "kto" && place.size > 1)
    fail("stage: kto: its kl is a mean over all of a micro-batch, and the processes do not know of each other's: run ",
         "one process");
  return preparation;
}

/// Windows of encoded samples in LLaMA-Factory's order, their images and videos decoded ahead of use by `workers`
/// threads, from one epoch on into the next.
class DatasetSource : public TrainSource {
 public:
  /// The samples outlive the source.
  DatasetSource(const std::vector<data::EncodedSample>& samples, data::Preparation preparation, const Arguments& a,
                int workers, const parallel::Place& place = {})
      : samples_(samples),
        preparation_(for_ranks(std::move(preparation), a, place)),
        workers_(workers),
        sampler_({.sample_count = static_cast<int>(samples.size()),
                  .per_device_train_batch_size = a.per_device_train_batch_size,
                  .gradient_accumulation_steps = a.gradient_accumulation_steps,
                  .seed = a.groups_by_length() ? a.seed : a.data_seed.value_or(a.seed),
                  .disable_shuffling = a.keeps_order(),
                  .lengths = a.groups_by_length() ? lengths_of(samples, a) : std::vector<int>(),
                  .dataloader_drop_last = a.dataloader_drop_last,
                  .rank = place.rank,
                  .ranks = place.size,
                  .costs = costs_of(samples, preparation_.vision_tokens)}),
        total_windows_(count_steps(a, rows(), place.size).total_steps) {}

  std::int64_t rows() const override { return static_cast<std::int64_t>(samples_.size()); }

  void seek(std::int64_t epoch, std::int64_t window) override {
    epoch_ = epoch;
    if (ahead_ && at_ == data::Position{epoch, window}) return;
    at_ = {epoch, window};
    const std::int64_t per_epoch = sampler_.windows_per_epoch(), first = epoch * per_epoch + window,
                       end = std::max(total_windows_, (epoch + 1) * per_epoch);
    ahead_.reset();
    ahead_.emplace(recipe(first), end - first, data::Ahead{.workers = workers_});
  }

  Window next() override {
    if (!ahead_ || at_.epoch != epoch_) fail("training data: the epoch has no further window");
    at_ = sampler_.after(at_);
    return detail::to_window(std::move(*ahead_->next()));
  }

  void give_back(Window window) override {
    if (ahead_) ahead_->give_back({.collated = {std::move(window.batch), {}, {}}, .media = {}});
  }

  /// The largest of the first epochs: what memory must hold.
  LargestWindow largest(std::int64_t epochs) {
    LargestWindow most;
    for (std::int64_t e = 0; e < epochs; ++e)
      for (std::int64_t w = 0; w < sampler_.windows_per_epoch(); ++w) {
        LargestWindow one;
        for (const auto& micro_batch : sampler_.window_at({e, w}))
          for (int row : micro_batch) one.add(samples_[static_cast<std::size_t>(row)]);
        most.include(one);
      }
    return most;
  }

 private:
  /// The windows from number `first` on, counted through the epochs.
  data::WindowRecipe recipe(std::int64_t first) const {
    return {&preparation_, [this, first, sampler = sampler_](std::int64_t index) mutable {
              std::vector<std::vector<const data::EncodedSample*>> micro_batches;
              for (const auto& rows : sampler.window_at(sampler.at_step(first + index))) {
                micro_batches.emplace_back();
                for (int row : rows) micro_batches.back().push_back(&samples_[static_cast<std::size_t>(row)]);
              }
              return micro_batches;
            }};
  }

  const std::vector<data::EncodedSample>& samples_;
  const data::Preparation preparation_;
  const int workers_;
  data::EpochSampler sampler_;
  const std::int64_t total_windows_;
  std::int64_t epoch_ = 0;
  data::Position at_;  // of the next window
  std::optional<data::Prefetch<data::WindowRecipe>> ahead_;
};

/// Evaluation samples in their own order, made ahead like those of training: a rank's batches, which are those of one
/// process in turn. With drop_last those that do not fill a batch of each rank are left out.
class DatasetEvalSource : public EvalSource {
 public:
  DatasetEvalSource(const std::vector<data::EncodedSample>& samples, data::Preparation preparation, int batch_size,
                    int workers, const parallel::Place& place = {}, bool drop_last = false)
      : samples_(samples),
        preparation_(std::move(preparation)),
        batch_size_(batch_size),
        workers_(workers),
        stride_(place.size),
        batches_(drop_last ? data::batches_of(rows(), batch_size_ * stride_, true) * stride_
                           : data::batches_of(rows(), batch_size_, false)) {}

  std::int64_t rows() const override { return static_cast<std::int64_t>(samples_.size()); }
  std::int64_t batches() const override { return batches_; }
  Window batch(std::int64_t index) override {
    if (!ahead_ || index != at_) {
      ahead_.reset();
      ahead_.emplace(recipe(index), (batches() - index + stride_ - 1) / stride_, data::Ahead{.workers = workers_});
    }
    at_ = index + stride_;
    Window window = detail::to_window(std::move(*ahead_->next()));
    if (at_ >= batches()) ahead_.reset();
    return window;
  }

 private:
  data::WindowRecipe recipe(std::int64_t first) const {
    return {&preparation_, [this, first](std::int64_t index) {
              std::vector<std::vector<const data::EncodedSample*>> one(1);
              const std::int64_t begin = (first + index * stride_) * batch_size_;
              for (std::int64_t row = begin; row < std::min(rows(), begin + batch_size_); ++row)
                one[0].push_back(&samples_[static_cast<std::size_t>(row)]);
              return one;
            }};
  }

  const std::vector<data::EncodedSample>& samples_;
  const data::Preparation preparation_;
  const std::int64_t batch_size_;
  const int workers_;
  const std::int64_t stride_, batches_;
  std::int64_t at_ = 0;  // number of the next batch
  std::optional<data::Prefetch<data::WindowRecipe>> ahead_;
};

}  // namespace lamina::train
