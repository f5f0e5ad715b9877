#pragma once
#include <span>

#include <lamina/core/objective/objective.hpp>
#include <lamina/core/run.hpp>
#include <lamina/kernel/logits/head_loss.hpp>
#include <lamina/train/objective/labelled_rows.hpp>

/// What every objective has, besides its member of the variant in core/objective/objective.hpp:
///
///     run_head(run, loss, rows)       what it launches on the labelled rows' hidden states: gradients in training
///     report(loss, labelled, found)   what the host makes of the numbers that this found
namespace lamina::train {

/// Numbers of the labelled rows, (count) each, and the sums of the layers' loss, in the backend's memory, or, to
/// report, in the host's.
struct RowScores {
  float* nll = nullptr;         ///< of the loss that the head computes: for the plain one -log p
  float* reference = nullptr;   ///< -log p by the model without its adapters; null: the objective has no reference
  float* mean_logit = nullptr;  ///< over the vocabulary; null: the objective does not ask for it

  float* hit = nullptr;  ///< 1 if the label is the likeliest token, else 0; null: as above

  float* sums = nullptr;  ///< (micro-batches, AuxiliarySums::each); null: no layer's loss is asked for
  std::size_t rows = 0, all_sums = 0;

  /// Calls f(own, other's, how many) for the members that both have.
  template <class F>
  void each(F f, const RowScores& other) const {
    if (nll) f(nll, other.nll, rows);
    if (reference) f(reference, other.reference, rows);
    if (mean_logit) f(mean_logit, other.mean_logit, rows);
    if (hit) f(hit, other.hit, rows);
    if (sums) f(sums, other.sums, all_sums);
  }
  /// Room for what an objective finds of so many rows, and for the sums of layers.
  static RowScores take(Arena& arena, const Objective& objective, int count, const AuxiliarySums& auxiliary) {
    const auto* preference = std::get_if<PreferenceLoss>(&objective);
    const auto rows = static_cast<std::size_t>(count);
    const auto all_sums = static_cast<std::size_t>(auxiliary.parts) * static_cast<std::size_t>(auxiliary.each);
    RowScores scores{.nll = arena.take<float>(rows)};
    scores.rows = rows, scores.all_sums = all_sums;
    if (all_sums > 0) scores.sums = arena.take<float>(all_sums);
    if (preference && preference->has_reference()) scores.reference = arena.take<float>(rows);
    if (preference) scores.mean_logit = arena.take<float>(rows);
    const auto* token = std::get_if<TokenLoss>(&objective);
    if (token && token->measures_accuracy) scores.hit = arena.take<float>(rows);
    return scores;
  }
};

/// The hidden states x (count, D) of labelled rows, before the model's head, and where their gradients go: dx, null if
/// nothing learns, and head.grad.
template <class T>
struct HeadRows {
  Matrix<const T> x;
  const Parameter& head;
  Matrix<T> dx;
  const LabelledRowsView& labelled;
  RowScores found;

  /// The head's loss without gradients.
  kernel::HeadLoss<T> scored() const {
    kernel::HeadLoss<T> all{};
    all.x = x, all.w = head.value, all.target = labelled.target;
    all.nll = found.nll, all.mean_logit = found.mean_logit, all.hit = found.hit;
    return all;
  }
  /// With gradients, each row's times weight.
  kernel::HeadLoss<T> learned(const float* weight) const {
    kernel::HeadLoss<T> all = scored();
    all.weight = weight, all.dx = dx;
    if (head.grad) all.dw = head.matrix_grad();
    return all;
  }
};

}  // namespace lamina::train
