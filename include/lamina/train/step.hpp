#pragma once
#include <cmath>
#include <vector>

#include <lamina/compose/tables.hpp>
#include <lamina/compose/weights.hpp>
#include <lamina/kernel/head_loss.hpp>
#include <lamina/kernel/plan.hpp>
#include <lamina/model/session.hpp>

namespace lamina::train {

/// The labelled tokens of a batch: row r of the hidden states predicts `target`. A sequence's first token is nobody's
/// prediction, so it carries no loss.
struct LabelledRows {
  std::vector<int> row, target, sequence;
  std::vector<float> weight;

  explicit LabelledRows(const Batch& batch) {
    for (std::size_t s = 0; s + 1 < batch.cu_seqlens.size() && !batch.labels.empty(); ++s)
      for (int n = batch.cu_seqlens[s] + 1; n < batch.cu_seqlens[s + 1]; ++n) {
        const auto i = static_cast<std::size_t>(n);
        if (batch.labels[i] == ignored_label || batch.loss_weights[i] == 0) continue;
        row.push_back(n - 1);
        target.push_back(batch.labels[i]);
        weight.push_back(batch.loss_weights[i]);
        sequence.push_back(static_cast<int>(s));
      }
  }
  int count() const { return static_cast<int>(row.size()); }
};

/// Next-token cross-entropy of a model on a batch, and its backward. The head sees labelled rows only.
template <class Model>
struct Objective {
  /// nll (rows) from a batch's input; with Run in training mode, gradients are added as well.
  template <class R, class S>
  static void run(R run, const Parameter* p, S& saved, Input<typename R::T>& in, const LabelledRows& labelled,
                  float* nll) {
    using T = typename R::T;
    using B = typename R::backend;
    Arena::Scope scope(*run.scratch);
    constexpr int D = Model::hidden_size;
    const Matrix<T> hidden = run.scratch->template matrix<T>(in.tokens, D);
    Model::forward(run, p, saved, in, hidden);
    const int count = labelled.count();
    if (count == 0) return;
    const Matrix<T> x = run.scratch->template matrix<T>(count, D);
    const Matrix<T> dx = R::mode::train ? run.scratch->template matrix<T>(count, D) : Matrix<T>{};
    kernel::rows<B>::gather(run.stream, count, kernel::Rows<T>{.x = hidden, .index = labelled.row.data(), .y = x});
    const Parameter& head = Model::head(p);
    kernel::head_loss<B>::run(
        run.stream, kernel::HeadLoss<T>{.x = x,
                                        .w = head.value,
                                        .target = labelled.target.data(),
                                        .weight = labelled.weight.data(),
                                        .nll = nll,
                                        .dx = dx,
                                        .dw = R::mode::train && head.grad ? head.matrix_grad() : Matrix<float>{}});
    if constexpr (R::mode::train) {
      kernel::rows<B>::zero(run.stream,
                            hidden);  // the hidden states are no longer needed: their gradient takes their place
      kernel::rows<B>::scatter(run.stream, count, kernel::Rows<T>{.x = dx, .index = labelled.row.data(), .y = hidden});
      Model::backward(run, p, saved, in, Matrix<const T>(hidden));
    }
  }
};

/// Runs training steps of a model on the CPU. Memory for a batch is planned, then taken, before anything runs; it only
/// grows when a batch is larger than every batch before.
template <class Model, Real T = float>
class Step {
 public:
  using Training = Mode<T, true, false>;

  /// Adds gradients of sum_i loss_weights[i] * nll[i]; dropout_seed 0: no dropout.
  BatchLoss accumulate(const Weights<Model, T>& weights, const Batch& batch, int image_token,
                       std::uint64_t dropout_seed) {
    return run<Training>(weights, batch, image_token, dropout_seed);
  }
  BatchLoss evaluate(const Weights<Model, T>& weights, const Batch& batch, int image_token) {
    return run<typename Training::inference>(weights, batch, image_token, 0);
  }

  struct Bytes {
    std::size_t saved = 0, scratch = 0;
  };
  /// What a batch needs, found by running it on the Plan backend.
  template <class Mode_>
  static Bytes plan(const Parameter* p, Input<T> in, const LabelledRows& labelled, PlanRecord* record = nullptr) {
    Arena saved_arena, scratch;
    auto saved = std::make_unique<typename Model::template Saved<Mode_>>();
    if constexpr (Mode_::train) Model::template allocate<Mode_>(*saved, saved_arena, in.tokens, in.patches.rows);
    Run<Plan, Mode_> run{Stream<Plan>{record}, &scratch, &in.text};
    Objective<Model>::run(run, p, *saved, in, labelled, static_cast<float*>(nullptr));
    return {saved_arena.peak_bytes(), scratch.peak_bytes()};
  }

 private:
  template <class Mode_>
  BatchLoss run(const Weights<Model, T>& weights, const Batch& batch, int image_token, std::uint64_t dropout_seed) {
    Input<T> in = tables_.template build<T>(batch, image_token);
    in.text.dropout_seed = in.vision.dropout_seed = dropout_seed;
    const LabelledRows labelled(batch);
    const Bytes bytes = plan<Mode_>(weights.parameters(), in, labelled);
    if (saved_arena_.counts() || saved_arena_.capacity_bytes() < bytes.saved) saved_arena_ = Arena(bytes.saved);
    if (scratch_.counts() || scratch_.capacity_bytes() < bytes.scratch) scratch_ = Arena(bytes.scratch);
    saved_arena_.release_to(0);
    auto saved = std::make_unique<typename Model::template Saved<Mode_>>();
    if constexpr (Mode_::train) Model::template allocate<Mode_>(*saved, saved_arena_, in.tokens, in.patches.rows);
    nll_.assign(static_cast<std::size_t>(labelled.count()), 0.0f);
    Objective<Model>::run(Run<Cpu, Mode_>{{}, &scratch_, &in.text}, weights.parameters(), *saved, in, labelled,
                          nll_.data());

    BatchLoss result;
    result.sequence_losses.assign(batch.cu_seqlens.size() - 1, 0.0);
    for (std::size_t i = 0; i < nll_.size(); ++i) {
      const double loss = static_cast<double>(labelled.weight[i]) * static_cast<double>(nll_[i]);
      result.loss += loss;
      result.sequence_losses[static_cast<std::size_t>(labelled.sequence[i])] += loss;
    }
    return result;
  }

  Tables<Model> tables_;
  Arena saved_arena_, scratch_;
  std::vector<float> nll_;
};

}  // namespace lamina::train
