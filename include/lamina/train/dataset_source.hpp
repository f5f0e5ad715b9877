#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <lamina/data/collate.hpp>
#include <lamina/data/dataset.hpp>
#include <lamina/data/prefetch.hpp>
#include <lamina/data/sampler.hpp>
#include <lamina/train/arguments.hpp>
#include <lamina/train/source.hpp>

namespace lamina::train {

/// The arguments that the data part reads.
inline data::DataOptions data_options(const Arguments& a) {
  data::DataOptions o;
  o.template_name = a.template_name;
  if (a.do_train) o.dataset = a.dataset;
  o.eval_dataset = a.eval_dataset;
  if (a.val_size > 0) o.dataset = a.dataset;
  o.dataset_dir = a.dataset_dir;
  o.media_dir = a.media_dir;
  o.cutoff_len = a.cutoff_len;
  o.train_on_prompt = a.train_on_prompt;
  o.mask_history = a.mask_history;
  o.max_samples = a.max_samples;
  o.val_size = a.val_size;
  o.mix_strategy = a.mix_strategy;
  o.interleave_probs = a.interleave_probs;
  o.default_system = a.default_system;
  o.enable_thinking = a.enable_thinking;
  o.preserve_thinking = a.preserve_thinking;
  o.images = {.max_pixels = a.image_max_pixels, .min_pixels = a.image_min_pixels};
  o.seed = a.seed;
  o.skip_bad_samples = a.skip_bad_samples;
  return o;
}

/// What turns samples into batches: the model's image preprocessing, the pixel limits and the image token.
struct Preparation {
  vision::Processor processor;
  data::ImageLimits limits;
  int image_pad_id = 0;

  Window window(std::span<const std::vector<const data::Sample*>> micro_batches) const {
    data::Collated collated = data::collate(micro_batches, processor, limits, image_pad_id);
    return {std::move(collated.batch), std::move(collated.origins), std::move(collated.warnings)};
  }
};

/// Windows of encoded samples in LLaMA-Factory's order, their images decoded ahead of use by dataloader_num_workers
/// threads.
class DatasetSource : public TrainSource {
 public:
  /// The samples outlive the source.
  DatasetSource(const std::vector<data::Sample>& samples, Preparation preparation, const Arguments& a)
      : samples_(samples),
        preparation_(std::move(preparation)),
        workers_(a.dataloader_num_workers),
        sampler_({.sample_count = static_cast<int>(samples.size()),
                  .per_device_train_batch_size = a.per_device_train_batch_size,
                  .gradient_accumulation_steps = a.gradient_accumulation_steps,
                  .seed = a.data_seed.value_or(a.seed),
                  .disable_shuffling = a.disable_shuffling}) {}

  std::int64_t rows() const override { return static_cast<std::int64_t>(samples_.size()); }

  void seek(std::int64_t epoch, std::int64_t window) override {
    ahead_.reset();
    windows_.clear();
    for (std::int64_t w = window; w < sampler_.windows_per_epoch(); ++w)
      windows_.push_back(sampler_.window_at({epoch, w}));
    ahead_ =
        std::make_unique<data::Prefetch<Window>>(static_cast<std::int64_t>(windows_.size()), workers_,
                                                 std::max(2, workers_), [this](std::int64_t i) { return make(i); });
  }

  Window next() override {
    std::optional<Window> window = ahead_ ? ahead_->next() : std::nullopt;
    if (!window) fail("training data: the epoch has no further window");
    return std::move(*window);
  }

  /// Tokens, sequences and patches of the largest window of the first epochs: what memory must hold.
  struct Largest {
    std::int64_t tokens = 0, sequences = 0, patches = 0;
  };
  Largest largest(std::int64_t epochs) {
    Largest most;
    for (std::int64_t e = 0; e < epochs; ++e)
      for (std::int64_t w = 0; w < sampler_.windows_per_epoch(); ++w) {
        Largest one;
        for (const auto& micro_batch : sampler_.window_at({e, w}))
          for (int row : micro_batch) {
            const auto& ids = samples_[static_cast<std::size_t>(row)].ids;
            const auto pads = std::count(ids.begin(), ids.end(), preparation_.image_pad_id);
            one.tokens += static_cast<std::int64_t>(ids.size());
            one.patches += pads * preparation_.processor.merge_size * preparation_.processor.merge_size;
            ++one.sequences;
          }
        most = {std::max(most.tokens, one.tokens), std::max(most.sequences, one.sequences),
                std::max(most.patches, one.patches)};
      }
    return most;
  }

 private:
  Window make(std::int64_t index) const {
    std::vector<std::vector<const data::Sample*>> micro_batches;
    for (const auto& rows : windows_[static_cast<std::size_t>(index)]) {
      micro_batches.emplace_back();
      for (int row : rows) micro_batches.back().push_back(&samples_[static_cast<std::size_t>(row)]);
    }
    return preparation_.window(micro_batches);
  }

  const std::vector<data::Sample>& samples_;
  Preparation preparation_;
  int workers_;
  data::Sampler sampler_;
  std::vector<std::vector<std::vector<int>>> windows_;
  std::unique_ptr<data::Prefetch<Window>> ahead_;  // reads windows_, so it goes first
};

/// Evaluation samples in their own order.
class DatasetEvalSource : public EvalSource {
 public:
  DatasetEvalSource(const std::vector<data::Sample>& samples, Preparation preparation, int batch_size)
      : samples_(samples), preparation_(std::move(preparation)), batch_size_(batch_size) {}

  std::int64_t rows() const override { return static_cast<std::int64_t>(samples_.size()); }
  std::int64_t batches() const override { return (rows() + batch_size_ - 1) / batch_size_; }
  Window batch(std::int64_t index) override {
    std::vector<std::vector<const data::Sample*>> one(1);
    for (std::int64_t row = index * batch_size_; row < std::min(rows(), (index + 1) * batch_size_); ++row)
      one[0].push_back(&samples_[static_cast<std::size_t>(row)]);
    return preparation_.window(one);
  }

 private:
  const std::vector<data::Sample>& samples_;
  Preparation preparation_;
  std::int64_t batch_size_;
};

}  // namespace lamina::train
