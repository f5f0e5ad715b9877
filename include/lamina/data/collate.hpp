#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/data/media.hpp>
#include <lamina/data/sample.hpp>
#include <lamina/vision/image.hpp>
#include <lamina/vision/processor.hpp>

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace lamina::data {

/// A batch, and what is to be said about it.
struct Collated {
  Batch batch;
  std::vector<std::string> origins;   ///< one a sequence: which record it is
  std::vector<std::string> warnings;  ///< micro-batches that teach nothing
};

namespace detail {

/// Labels that count: all but ignored ones and the first of the sequence, which no token precedes.
inline int labelled_tokens(const Sample& sample) {
  int count = 0;
  for (std::size_t i = 1; i < sample.labels.size(); ++i) count += sample.labels[i] != ignored_label;
  return count;
}

inline void append_sequence(const Sample& sample, float weight, Batch& batch) {
  batch.ids.insert(batch.ids.end(), sample.ids.begin(), sample.ids.end());
  batch.labels.insert(batch.labels.end(), sample.labels.begin(), sample.labels.end());
  for (std::size_t i = 0; i < sample.labels.size(); ++i) {
    batch.loss_weights.push_back(i > 0 && sample.labels[i] != ignored_label ? weight : 0.0f);
  }
  batch.cu_seqlens.push_back(static_cast<int>(batch.ids.size()));
}

/// Decodes the sample's images, resizes them as LLaMA-Factory and then the model's processor do, and appends patches.
inline void append_images(const Sample& sample, const vision::Processor& processor, const ImageLimits& limits,
                          Batch& batch) {
  for (const std::filesystem::path& path : sample.images) {
    try {
      const vision::Image image = vision::limit_pixels(vision::load_image(path), limits.min_pixels, limits.max_pixels);
      batch.grids.push_back(processor.append_patches(image, batch.patches));
    } catch (const Error& error) {
      fail(sample.origin, ": ", error.what());
    }
  }
}

inline int image_run_tokens(const Sample& sample, int image_pad_id) {
  int count = 0;
  for (const int id : sample.ids) count += id == image_pad_id;
  return count;
}

}  // namespace detail

/// One accumulation window as one run of packed sequences. `window` holds M micro-batches; the weights are such that
///
///     sum_i loss_weights[i] * nll(labels[i])  =  sum_m (mean of nll over the labelled tokens of micro-batch m) / M
///
/// which is what accumulating the micro-batches one by one gives. A micro-batch without labelled token adds nothing
/// and is named in `warnings` (in LLaMA-Factory it makes the loss NaN).
/// `image_pad_id` is the token whose runs stand for images: their number is checked against the patches.
inline Collated collate(std::span<const std::vector<const Sample*>> window, const vision::Processor& processor,
                        const ImageLimits& limits, int image_pad_id) {
  Collated out;
  out.batch.cu_seqlens.push_back(0);
  for (const auto& micro_batch : window) {
    int labelled = 0;
    for (const Sample* sample : micro_batch) labelled += detail::labelled_tokens(*sample);
    const double weight = labelled ? 1.0 / (static_cast<double>(labelled) * static_cast<double>(window.size())) : 0;
    for (const Sample* sample : micro_batch) {
      const std::size_t first_grid = out.batch.grids.size();
      detail::append_sequence(*sample, static_cast<float>(weight), out.batch);
      detail::append_images(*sample, processor, limits, out.batch);
      int tokens = 0;
      for (std::size_t g = first_grid; g < out.batch.grids.size(); ++g) {
        tokens += out.batch.grids[g].tokens(processor.merge_size);
      }
      const int wanted = detail::image_run_tokens(*sample, image_pad_id);
      if (tokens != wanted) {
        fail(sample->origin, ": its images give ", tokens, " tokens, ", wanted,
             " were counted when the data was read: an image file was changed meanwhile");
      }
      out.origins.push_back(sample->origin);
    }
    if (labelled == 0 && !micro_batch.empty()) {
      out.warnings.push_back(
          cat(micro_batch.front()->origin, ": a micro-batch without any learned token adds no loss"));
    }
  }
  return out;
}

}  // namespace lamina::data
