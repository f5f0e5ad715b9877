#pragma once
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

inline BatchLoss report(const TokenLoss&, const LabelledRows& labelled, int sequences, const RowScores& found) {
  BatchLoss result;
  result.sequence_losses.assign(static_cast<std::size_t>(sequences), 0.0);
  for (std::size_t i = 0; i < labelled.row.size(); ++i) {
    const double loss = static_cast<double>(labelled.weight[i]) * static_cast<double>(found.nll[i]);
    result.loss += loss;
    result.sequence_losses[static_cast<std::size_t>(labelled.sequence[i])] += loss;
  }
  return result;
}

}  // namespace lamina::train
