#pragma once
#include <vector>

#include <lamina/model/train_session.hpp>
#include <lamina/train/objective/head_rows.hpp>

namespace lamina::train {

/// The weighted sum of the labels' losses.
template <class R, class T>
void run_head(R run, const TokenLoss& loss, const HeadRows<T>& rows) {
  kernel::HeadLoss<T> all = R::mode::train ? rows.learned(rows.labelled.weight) : rows.scored();
  all.loss = loss;
  kernel::head_loss<typename R::backend>::run(run.stream, all);
}

/// The mean over sequences of the share of their labels that are the likeliest token.
/// source  LLaMA-Factory 0.9.5, ComputeAccuracy of train/sft/metric.py
inline Metric accuracy(const LabelledRows& labelled, int sequences, const float* hit) {
  std::vector<double> hits(static_cast<std::size_t>(sequences)), labels = hits;
  for (std::size_t i = 0; i < labelled.row.size(); ++i) {
    const auto s = static_cast<std::size_t>(labelled.sequence[i]);
    hits[s] += static_cast<double>(hit[i]);
    labels[s] += 1;
  }
  Metric mean{"accuracy"};
  for (std::size_t s = 0; s < hits.size(); ++s)
    if (labels[s] > 0) mean.sum += hits[s] / labels[s], mean.weight += 1;
  return mean;
}

inline BatchLoss report(const TokenLoss&, const LabelledRows& labelled, int sequences, const RowScores& found) {
  BatchLoss result;
  if (found.hit) result.metrics = {accuracy(labelled, sequences, found.hit)};
  result.sequence_losses.assign(static_cast<std::size_t>(sequences), 0.0);
  for (std::size_t i = 0; i < labelled.row.size(); ++i) {
    const double loss = static_cast<double>(labelled.weight[i]) * static_cast<double>(found.nll[i]);
    result.loss += loss;
    result.sequence_losses[static_cast<std::size_t>(labelled.sequence[i])] += loss;
  }
  return result;
}

}  // namespace lamina::train
