#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/data/sample/encode.hpp>
#include <lamina/data/sample/encoded_sample.hpp>
#include <lamina/data/sample/media.hpp>
#include <lamina/data/sample/video_plan.hpp>
#include <lamina/vision/image.hpp>
#include <lamina/vision/limit.hpp>
#include <lamina/vision/processor.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace lamina::data {

/// A batch, and facts about it for the logs.
struct Collated {
  Batch batch;
  std::vector<std::string> origins;   ///< one per sequence: which record it is
  std::vector<std::string> warnings;  ///< micro-batches that teach nothing
};

namespace detail {

/// Labels that count: all but ignored ones and the first of the sequence, which no token precedes.
inline int labelled_tokens(const EncodedSample& sample) {
  int count = 0;
  for (std::size_t i = 1; i < sample.labels.size(); ++i) count += sample.labels[i] != ignored_label;
  return count;
}

/// All labels of a window that are not ignored.
inline std::int64_t marked_labels(std::span<const std::vector<const EncodedSample*>> window) {
  std::int64_t count = 0;
  for (const auto& micro_batch : window)
    for (const EncodedSample* sample : micro_batch)
      count += std::count_if(sample->labels.begin(), sample->labels.end(), [](int l) { return l != ignored_label; });
  return count;
}

inline void append_sequences(const EncodedSample& sample, float weight, Batch& batch) {
  batch.ids.insert(batch.ids.end(), sample.ids.begin(), sample.ids.end());
  batch.labels.insert(batch.labels.end(), sample.labels.begin(), sample.labels.end());
  for (std::size_t i = 0; i < sample.labels.size(); ++i) {
    batch.loss_weights.push_back(i > 0 && sample.labels[i] != ignored_label ? weight : 0.0f);
  }
  for (const PackedSequence& packed : sample.sequences)
    batch.cu_seqlens.push_back(static_cast<int>(batch.ids.size() - sample.ids.size()) + packed.end);
  if (sample.sequences.empty()) batch.cu_seqlens.push_back(static_cast<int>(batch.ids.size()));
}

/// Whether a micro-batch is preference data.
inline bool judged(const std::vector<const EncodedSample*>& micro_batch) {
  return !micro_batch.empty() && !micro_batch.front()->roles.empty();
}

/// What each sequence of a micro-batch of preference data is, and which are judged together: the two of a sample, or
/// all if there are baselines.
inline void add_groups(const std::vector<const EncodedSample*>& micro_batch, Batch& batch) {
  if (batch.cu_groups.empty()) batch.cu_groups.push_back(0);
  bool together = false;
  for (const EncodedSample* sample : micro_batch) {
    batch.roles.insert(batch.roles.end(), sample->roles.begin(), sample->roles.end());
    together = sample->roles.back() == SequenceRole::baseline;
    if (!together) batch.cu_groups.push_back(static_cast<int>(batch.roles.size()));
  }
  if (together) batch.cu_groups.push_back(static_cast<int>(batch.roles.size()));
}

/// Makes room for `count` values; what they are does not matter. Memory is taken anew rather than copied.
inline void make_room(std::vector<float>& values, std::size_t count) {
  if (values.capacity() < count) std::vector<float>().swap(values);
  values.resize(count);
}

}  // namespace detail

/// Patches of a sample's images and videos.
inline std::int64_t patches_of(const EncodedSample& sample) {
  auto patches = std::accumulate(sample.image_patches.begin(), sample.image_patches.end(), std::int64_t{0});
  for (const auto& video : sample.videos) patches += video->clip().patches();
  return patches;
}

/// How a window's images and videos are prepared, and which tokens take their places.
struct Preparation {
  vision::Processor processor;
  ImageLimits limits;  ///< of images; a video's plan has those of its frames
  VisionTokens vision_tokens;
  int ranks = 1;  ///< processes whose windows are summed
  /// Each label of a window weighs 1 / all of its labels, as transformers divides the losses of other objectives.
  bool labels_weigh_alike = false;
};

/// An image or a video that is still to be made: which, and where in the batch it belongs.
struct PendingMedium {
  const EncodedSample* sample = nullptr;
  std::filesystem::path image;             ///< or
  std::shared_ptr<const VideoPlan> video;  ///< a video
  /// In Batch: its first element of grids, its first row of patches.
  struct Place {
    std::size_t grid = 0, patch = 0;
  };
  Place place;
  int patches = 0;              ///< as counted when the data was read
  std::vector<Place> others{};  ///< of the same image or video: answers that are compared show it once more

  /// Whether both are of one file, or of one list of frames.
  bool shows(const PendingMedium& other) const {
    if (!video || !other.video) return !video && !other.video && image == other.image;
    return video->file == other.video->file && video->images == other.video->images;
  }
};

/// A window with room for its images and videos, which can then be made in any order, by several threads.
struct Draft {
  Collated collated;
  std::vector<PendingMedium> media;
};

namespace detail {

/// Appends what a sample shows, in the order of its tokens, with its place in the batch: `grids` and `patches` count
/// those before it.
inline void append_media(const EncodedSample& sample, const Preparation& preparation, std::size_t& grids,
                         std::size_t& patches, std::vector<PendingMedium>& media) {
  std::vector<PlaceholderRun> runs;
  add_runs(sample.ids, preparation.vision_tokens, runs);
  std::size_t images = 0, videos = 0;
  const std::size_t of_others = media.size();
  const auto misfit = [&] {
    fail(sample.origin, ": ", sample.images.size(), " images and ", sample.videos.size(), " videos, but ", runs.size(),
         " places for them in its tokens");
  };
  for (std::size_t run = 0; run < runs.size();) {
    PendingMedium next{&sample, {}, nullptr, {grids, patches}};
    std::size_t count = 1;
    if (runs[run].id == preparation.vision_tokens.image) {
      if (images == sample.images.size() || sample.image_patches.size() != sample.images.size()) misfit();
      next.patches = sample.image_patches[images];
      next.image = sample.images[images++];
    } else {
      if (videos == sample.videos.size()) misfit();
      next.video = sample.videos[videos++];
      count = next.video->grids.size();
      next.patches = next.video->clip().patches();
    }
    run += count, grids += count, patches += static_cast<std::size_t>(next.patches);
    const auto first = std::find_if(media.begin() + static_cast<std::ptrdiff_t>(of_others), media.end(),
                                    [&](const PendingMedium& m) { return m.shows(next); });
    first == media.end() ? media.push_back(std::move(next)) : first->others.push_back(next.place);
  }
  if (images != sample.images.size() || videos != sample.videos.size()) misfit();
}

}  // namespace detail

/// Everything of one accumulation window but the pixels. `window` holds M micro-batches; the weights are such that
///
///     sum_i loss_weights[i] * nll(labels[i])  =  sum_m (mean of nll over the labelled tokens of micro-batch m) / M
///
/// which equals accumulating the micro-batches one by one. Of preference data the weight is that of its sample: 1 /
/// (samples of the micro-batch * M). With several ranks, divided by their number, so that the sum over ranks is their
/// mean. A micro-batch without labelled token adds nothing and is named in `warnings` (in LLaMA-Factory it makes the
/// loss NaN). A `used` draft lends its memory.
inline Draft begin_window(std::span<const std::vector<const EncodedSample*>> window, const Preparation& preparation,
                          Draft used = {}) {
  Draft out;
  Batch& batch = out.collated.batch;
  batch.cu_seqlens.push_back(0);
  batch.cu_parts.push_back(0);
  std::size_t grids = 0, patches = 0;
  const std::int64_t all_labels = detail::marked_labels(window);
  for (const auto& micro_batch : window) {
    int labelled = 0;
    for (const EncodedSample* sample : micro_batch) labelled += detail::labelled_tokens(*sample);
    const auto shares = static_cast<double>(window.size()) * preparation.ranks;
    const bool judged = detail::judged(micro_batch);
    const double own = static_cast<double>(judged ? micro_batch.size() : static_cast<std::size_t>(labelled)) * shares,
                 weight =
                     !labelled ? 0 : 1.0 / (preparation.labels_weigh_alike ? static_cast<double>(all_labels) : own);
    for (const EncodedSample* sample : micro_batch) {
      detail::append_sequences(*sample, static_cast<float>(weight), batch);
      detail::append_media(*sample, preparation, grids, patches, out.media);
      for (const PackedSequence& packed : sample->sequences) out.collated.origins.push_back(packed.origin);
      if (sample->sequences.empty()) out.collated.origins.push_back(sample->origin);
    }
    batch.cu_parts.push_back(static_cast<int>(batch.ids.size()));
    if (judged) detail::add_groups(micro_batch, batch);
    if (labelled == 0 && !micro_batch.empty())
      out.collated.warnings.push_back(
          cat(micro_batch.front()->origin, ": a micro-batch without any learned token adds no loss"));
  }
  batch.grids.resize(grids);
  batch.patches = std::move(used.collated.batch.patches);
  detail::make_room(batch.patches, patches * static_cast<std::size_t>(preparation.processor.row_length()));
  return out;
}

/// Decodes an image, resizes it as LLaMA-Factory and then the model's processor do, and writes its grid and patches.
inline void make_image(const PendingMedium& pending, const Preparation& preparation, Batch& batch) {
  const vision::Processor& processor = preparation.processor;
  const vision::Image image = vision::limit_pixels(vision::load_image(pending.image), preparation.limits.min_pixels,
                                                   preparation.limits.max_pixels, preparation.processor.shape);
  const Grid grid = processor.grid_for(image.size());
  if (grid.patches() != pending.patches)
    fail("image ", pending.image.string(), " gives ", grid.patches(), " patches, ", pending.patches,
         " were counted when the data was read: the file was changed meanwhile");
  const auto row = static_cast<std::size_t>(processor.row_length());
  processor.write_patches(image, {&batch.patches[pending.place.patch * row], grid.patches() * row});
  batch.grids[pending.place.grid] = grid;
}

/// A medium that was made, in its other places too.
inline void repeat_medium(const PendingMedium& pending, std::size_t row, Batch& batch) {
  const std::size_t grids = pending.video ? pending.video->grids.size() : 1,
                    values = static_cast<std::size_t>(pending.patches) * row;
  for (const PendingMedium::Place& other : pending.others) {
    std::copy_n(batch.grids.begin() + static_cast<std::ptrdiff_t>(pending.place.grid), grids,
                batch.grids.begin() + static_cast<std::ptrdiff_t>(other.grid));
    std::copy_n(&batch.patches[pending.place.patch * row], values, &batch.patches[other.patch * row]);
  }
}

/// The same for an image or a video.
inline void make_medium(const PendingMedium& pending, const Preparation& preparation, Batch& batch) {
  try {
    const auto row = static_cast<std::size_t>(preparation.processor.row_length());
    if (pending.video) {
      const auto values = static_cast<std::size_t>(pending.video->clip().patches()) * row;
      write_video(*pending.video, preparation.processor, {&batch.patches[pending.place.patch * row], values});
      std::copy(pending.video->grids.begin(), pending.video->grids.end(),
                batch.grids.begin() + static_cast<std::ptrdiff_t>(pending.place.grid));
    } else {
      make_image(pending, preparation, batch);
    }
    repeat_medium(pending, row, batch);
  } catch (const Error& error) {
    fail(pending.sample->origin, ": ", error.what());
  }
}

/// One accumulation window as one run of packed sequences, made by the calling thread.
inline Collated collate(std::span<const std::vector<const EncodedSample*>> window, const Preparation& preparation) {
  Draft draft = begin_window(window, preparation);
  for (const PendingMedium& medium : draft.media) make_medium(medium, preparation, draft.collated.batch);
  return std::move(draft.collated);
}

/// The windows of a run as Prefetch makes them: a part is an image or a video.
struct WindowRecipe {
  using Item = Draft;
  const Preparation* preparation;
  std::function<std::vector<std::vector<const EncodedSample*>>(std::int64_t)>
      micro_batches;  ///< of a window; called in order

  Draft begin(std::int64_t index, Draft used) const {
    return begin_window(micro_batches(index), *preparation, std::move(used));
  }
  int parts(const Draft& draft) const { return static_cast<int>(draft.media.size()); }
  void make(Draft& draft, int part) const {
    make_medium(draft.media[static_cast<std::size_t>(part)], *preparation, draft.collated.batch);
  }
  /// Of the patches alone: the rest is some kilobytes.
  std::size_t bytes(const Draft& draft) const { return draft.collated.batch.patches.capacity() * sizeof(float); }
};

}  // namespace lamina::data
