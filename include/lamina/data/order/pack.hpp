#pragma once
#include <lamina/core/batch.hpp>
#include <lamina/data/sample/encoded_sample.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

namespace lamina::data {

/// The batches in which LLaMA-Factory preprocesses rows. Packing joins only rows of one batch. Each of the worker
/// processes takes a contiguous share of the rows and divides it into batches.
/// source  datasets 4.0, arrow_dataset.py, Dataset.map and Dataset.shard
struct PreprocessingBatches {
  std::int64_t rows = 0;
  std::int64_t batch_size = 1000;  ///< key preprocessing_batch_size
  std::int64_t workers = 1;        ///< key preprocessing_num_workers

  /// The first row of the batch that a row is in; it identifies the batch.
  std::int64_t first_row(std::int64_t row) const {
    const std::int64_t shares = std::clamp<std::int64_t>(workers, 1, std::max<std::int64_t>(rows, 1));
    const std::int64_t each = rows / shares, longer = rows % shares;  // the first `longer` shares have one more row
    const std::int64_t in_longer = longer * (each + 1);
    const std::int64_t begin =
        row < in_longer ? row / (each + 1) * (each + 1) : in_longer + (row - in_longer) / each * each;
    return begin + (row - begin) / batch_size * batch_size;
  }
  /// The row before it in its call; before the first one is the last.
  std::int64_t row_before(std::int64_t row) const {
    if (row != first_row(row)) return row - 1;
    std::int64_t last = row;
    while (last + 1 < rows && first_row(last + 1) == row) ++last;
    return last;
  }
};

/// Fills one knapsack after another, always with the largest length that still fits. Returns the indices in each
/// knapsack. Of equal lengths the one with the highest index is taken first. Lengths above the capacity are left out.
/// source  LLaMA-Factory 0.9.5, data/processor/processor_utils.py, greedy_knapsack
inline std::vector<std::vector<std::size_t>> greedy_knapsack(const std::vector<int>& lengths, int capacity) {
  std::map<int, std::vector<std::size_t>> left;
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] <= capacity) left[lengths[i]].push_back(i);
  std::vector<std::vector<std::size_t>> knapsacks;
  while (!left.empty()) {
    std::vector<std::size_t>& knapsack = knapsacks.emplace_back();
    int room = capacity;
    for (auto above = left.upper_bound(room); above != left.begin(); above = left.upper_bound(room)) {
      const auto largest = std::prev(above);
      knapsack.push_back(largest->second.back());
      room -= largest->first;
      largest->second.pop_back();
      if (largest->second.empty()) left.erase(largest);
    }
  }
  return knapsacks;
}

namespace detail {

/// Joins samples into one. With `neat` each stays a sequence of its own, and no label predicts its first token
/// (in LLaMA-Factory with train_on_prompt the previous sample predicts it). Without `neat` they become one sequence, in
/// which tokens attend to those of earlier samples.
inline EncodedSample join_samples(const std::vector<EncodedSample*>& samples, bool neat) {
  EncodedSample joined = std::move(*samples.front());
  if (samples.size() == 1) return joined;
  if (neat) joined.sequences.push_back({static_cast<int>(joined.ids.size()), joined.origin});
  for (std::size_t i = 1; i < samples.size(); ++i) {
    const EncodedSample& next = *samples[i];
    joined.ids.insert(joined.ids.end(), next.ids.begin(), next.ids.end());
    const std::size_t first_label = joined.labels.size();
    joined.labels.insert(joined.labels.end(), next.labels.begin(), next.labels.end());
    if (neat) joined.labels[first_label] = ignored_label;
    joined.images.insert(joined.images.end(), next.images.begin(), next.images.end());
    joined.image_patches.insert(joined.image_patches.end(), next.image_patches.begin(), next.image_patches.end());
    joined.videos.insert(joined.videos.end(), next.videos.begin(), next.videos.end());
    if (neat) joined.sequences.push_back({static_cast<int>(joined.ids.size()), next.origin});
    joined.origin += " + " + next.origin;
  }
  return joined;
}

}  // namespace detail

/// Packing of stage: pt. Concatenates the texts of each preprocessing batch and cuts them into samples of `length`
/// tokens. The remainder at the end of a batch is dropped.
/// source  LLaMA-Factory 0.9.5, data/processor/pretrain.py
inline std::vector<EncodedSample> cut_into_blocks(const std::vector<EncodedSample>& texts, std::size_t length) {
  std::vector<EncodedSample> blocks;
  EncodedSample block;
  for (std::size_t t = 0; t < texts.size(); ++t) {
    if (t > 0 && texts[t].preprocessing_batch != texts[t - 1].preprocessing_batch) block = {};
    for (const int id : texts[t].ids) {
      if (block.ids.empty()) block.origin = texts[t].origin;
      block.ids.push_back(id);
      if (block.ids.size() < length) continue;
      block.labels = block.ids;
      blocks.push_back(std::exchange(block, {}));
    }
  }
  return blocks;
}

/// Keys packing and neat_packing: joins the samples of each preprocessing batch into samples of at most `capacity`
/// tokens. LLaMA-Factory also appends padding, to which no labelled token attends; here there is none.
/// source  LLaMA-Factory 0.9.5, data/processor/supervised.py, PackedSupervisedDatasetProcessor
inline std::vector<EncodedSample> pack(std::vector<EncodedSample> samples, int capacity, bool neat) {
  std::vector<EncodedSample> packed;
  for (auto begin = samples.begin(); begin != samples.end();) {
    const auto end = std::find_if(begin, samples.end(), [&](const EncodedSample& s) {
      return s.preprocessing_batch != begin->preprocessing_batch;
    });
    std::vector<int> lengths;
    for (auto s = begin; s != end; ++s) lengths.push_back(static_cast<int>(s->ids.size()));
    for (const std::vector<std::size_t>& knapsack : greedy_knapsack(lengths, capacity)) {
      std::vector<EncodedSample*> together;
      for (const std::size_t i : knapsack) together.push_back(&begin[static_cast<std::ptrdiff_t>(i)]);
      packed.push_back(detail::join_samples(together, neat));
    }
    begin = end;
  }
  return packed;
}

}  // namespace lamina::data
