#pragma once
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/kernel/logits/preference.hpp>

namespace lamina::train {

/// The labelled tokens of a batch: row r of the hidden states predicts `target`. A sequence's first token is nobody's
/// prediction, so it carries no loss.
struct LabelledRows {
  std::vector<int> row, target, sequence;
  std::vector<float> weight;
  std::vector<kernel::JudgedSequence> judged;  ///< (sequences) of preference data; or empty

  LabelledRows() = default;
  explicit LabelledRows(const Batch& batch) { read(batch); }
  void read(const Batch& batch) {
    row.clear(), target.clear(), sequence.clear(), weight.clear(), judged.clear();
    for (std::size_t s = 0; s + 1 < batch.cu_seqlens.size() && !batch.labels.empty(); ++s) {
      const int first = count();
      for (int n = batch.cu_seqlens[s] + 1; n < batch.cu_seqlens[s + 1]; ++n) {
        const auto i = static_cast<std::size_t>(n);
        if (batch.labels[i] == ignored_label || batch.loss_weights[i] == 0) continue;
        row.push_back(n - 1);
        target.push_back(batch.labels[i]);
        weight.push_back(batch.loss_weights[i]);
        sequence.push_back(static_cast<int>(s));
      }
      if (!batch.roles.empty()) judged.push_back({.first_row = first, .rows = count() - first, .role = batch.roles[s]});
    }
    for (std::size_t g = 0; g + 1 < batch.cu_groups.size(); ++g)
      for (int s = batch.cu_groups[g]; s < batch.cu_groups[g + 1]; ++s) {
        auto& own = judged[static_cast<std::size_t>(s)];
        own.group = batch.cu_groups[g], own.group_size = batch.cu_groups[g + 1] - batch.cu_groups[g];
      }
  }
  int count() const { return static_cast<int>(row.size()); }
};

/// The same in the memory that a backend's kernels read: (count) each, judged (sequences).
struct LabelledRowsView {
  int count = 0, sequences = 0;  ///< sequences: those that are judged
  const int* row = nullptr;
  const int* target = nullptr;
  const float* weight = nullptr;
  const kernel::JudgedSequence* judged = nullptr;

  LabelledRowsView() = default;
  explicit LabelledRowsView(const LabelledRows& rows)
      : count(rows.count()),
        sequences(static_cast<int>(rows.judged.size())),
        row(rows.row.data()),
        target(rows.target.data()),
        weight(rows.weight.data()),
        judged(rows.judged.data()) {}
};

}  // namespace lamina::train
