#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <lamina/core/objective/preference_loss.hpp>

namespace lamina::data {

struct VideoPlan;

/// A sequence inside a sample of several.
struct PackedSequence {
  int end = 0;         ///< token behind its last one
  std::string origin;  ///< of its record
};

/// One conversation as the model sees it, or several (packing). T tokens; the i-th run of image tokens in ids belongs
/// to images[i]; the runs of video tokens to the videos, as many to each as its plan has grids.
/// To train and evaluate: all of it, with labels. To predict: up to the last answer, without labels.
struct EncodedSample {
  std::vector<int> ids;                       ///< (T) image placeholders already expanded
  std::vector<int> labels;                    ///< (T) the token itself if it is learned, else ignored_label; or none
  std::vector<std::filesystem::path> images;  ///< files, in the order of their placeholders
  std::string origin;                         ///< "mllm_demo.json row 3", for messages
  std::vector<int> answer = {};               ///< to predict: the answer in the data
  int lost = 0;                               ///< to predict: tokens that cutoff_len cut off the end of the question
  /// neat_packing, or the answers of preference data: at least two, in order; else none: it is one.
  std::vector<PackedSequence> sequences = {};
  std::vector<SequenceRole> roles = {};                       ///< of these sequences, in preference data; else none
  std::int64_t preprocessing_batch = 0;                       ///< samples that share it may be packed together
  std::vector<std::shared_ptr<const VideoPlan>> videos = {};  ///< in the order of their placeholders
  std::vector<int> image_patches = {};                        ///< of each of the images

  int sequence_count() const { return sequences.empty() ? 1 : static_cast<int>(sequences.size()); }
};

}  // namespace lamina::data
