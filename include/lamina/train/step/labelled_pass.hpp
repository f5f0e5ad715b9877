#pragma once
#include <memory>
#include <variant>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/compose/vision_language.hpp>
#include <lamina/kernel/rows/rows.hpp>
#include <lamina/train/objective/objective.hpp>

namespace lamina::train {

/// A model's pass over a batch under an objective. The head sees labelled rows only.
template <class Model>
struct LabelledPass {
  static constexpr int D = Model::hidden_size;

  /// The scores of the labelled rows; with Run in training mode, gradients are added as well. reference: the parameters
  /// of the model that the objective compares with, if it asks for one.
  template <class R, class S, class T>
  static void run(R run, const Parameter* p, S& saved, Input<T>& in, const LabelledRowsView& labelled,
                  const Objective& objective, const RowScores& found, const Parameter* reference) {
    Arena::Scope scope(*run.scratch);
    if (found.reference)
      score(run.template as<typename R::mode::inference>(), reference, in, labelled, found.reference);
    const Matrix<T> hidden = run.scratch->template matrix<T>(in.tokens, D);
    AuxiliarySums& auxiliary = in.text.auxiliary;
    auxiliary.sums = found.sums;
    if ((auxiliary.gathers = auxiliary.sums))
      kernel::rows<typename R::backend>::zero(run.stream,
                                              Matrix<float>(auxiliary.sums, auxiliary.parts, auxiliary.each));
    Model::forward(run, p, saved, in, hidden);
    auxiliary.gathers = false;  // what backward runs again has been counted
    if (labelled.count == 0) return;
    const Matrix<T> x = gathered(run, hidden, labelled);
    const Matrix<T> dx = R::mode::train ? run.scratch->template matrix<T>(labelled.count, D) : Matrix<T>{};
    const HeadRows<T> rows{.x = x, .head = Model::head(p), .dx = dx, .labelled = labelled, .found = found};
    std::visit([&](const auto& loss) { run_head(run, loss, rows); }, objective);
    if constexpr (R::mode::train) {
      using kernels = kernel::rows<typename R::backend>;
      kernels::zero(run.stream, hidden);  // the hidden states are no longer needed: their gradient takes their place
      kernels::scatter(run.stream, labelled.count, kernel::Rows<T>{.x = dx, .index = labelled.row, .y = hidden});
      Model::backward(run, p, saved, in, Matrix<const T>(hidden));
    }
  }

 private:
  /// -log p of each label, of the model with these parameters.
  template <class R, class T>
  static void score(R run, const Parameter* p, Input<T>& in, const LabelledRowsView& labelled, float* nll) {
    Arena::Scope scope(*run.scratch);
    const auto saved = std::make_unique<typename Model::template Saved<typename R::mode>>();
    const Matrix<T> hidden = run.scratch->template matrix<T>(in.tokens, D);
    Model::forward(run, p, *saved, in, hidden);
    if (labelled.count == 0) return;
    const HeadRows<T> rows{
        .x = gathered(run, hidden, labelled), .head = Model::head(p), .dx = {}, .labelled = labelled, .found = {nll}};
    run_head(run, TokenLoss{}, rows);
  }
  template <class R, class T>
  static Matrix<T> gathered(R run, Matrix<T> hidden, const LabelledRowsView& labelled) {
    const Matrix<T> x = run.scratch->template matrix<T>(labelled.count, D);
    kernel::rows<typename R::backend>::gather(run.stream, labelled.count,
                                              kernel::Rows<T>{.x = hidden, .index = labelled.row, .y = x});
    return x;
  }
};

}  // namespace lamina::train
