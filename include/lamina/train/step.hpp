#pragma once
#include <cmath>
#include <vector>

#include <lamina/compose/staging.hpp>
#include <lamina/compose/tables.hpp>
#include <lamina/compose/weights.hpp>
#include <lamina/kernel/device.hpp>
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

/// The same where a backend's kernels read them: (count) each.
struct LabelledRowsView {
  int count = 0;
  const int* row = nullptr;
  const int* target = nullptr;
  const float* weight = nullptr;

  LabelledRowsView() = default;
  explicit LabelledRowsView(const LabelledRows& rows)
      : count(rows.count()), row(rows.row.data()), target(rows.target.data()), weight(rows.weight.data()) {}
};

/// Next-token cross-entropy of a model on a batch, and its backward. The head sees labelled rows only.
template <class Model>
struct Objective {
  /// nll (rows) from a batch's input; with Run in training mode, gradients are added as well.
  template <class R, class S>
  static void run(R run, const Parameter* p, S& saved, Input<typename R::T>& in, const LabelledRowsView& labelled,
                  float* nll) {
    using T = typename R::T;
    using B = typename R::backend;
    Arena::Scope scope(*run.scratch);
    constexpr int D = Model::hidden_size;
    const Matrix<T> hidden = run.scratch->template matrix<T>(in.tokens, D);
    Model::forward(run, p, saved, in, hidden);
    const int count = labelled.count;
    if (count == 0) return;
    const Matrix<T> x = run.scratch->template matrix<T>(count, D);
    const Matrix<T> dx = R::mode::train ? run.scratch->template matrix<T>(count, D) : Matrix<T>{};
    kernel::rows<B>::gather(run.stream, count, kernel::Rows<T>{.x = hidden, .index = labelled.row, .y = x});
    const Parameter& head = Model::head(p);
    kernel::head_loss<B>::run(
        run.stream, kernel::HeadLoss<T>{.x = x,
                                        .w = head.value,
                                        .target = labelled.target,
                                        .weight = labelled.weight,
                                        .nll = nll,
                                        .dx = dx,
                                        .dw = R::mode::train && head.grad ? head.matrix_grad() : Matrix<float>{}});
    if constexpr (R::mode::train) {
      kernel::rows<B>::zero(run.stream,
                            hidden);  // the hidden states are no longer needed: their gradient takes their place
      kernel::rows<B>::scatter(run.stream, count, kernel::Rows<T>{.x = dx, .index = labelled.row, .y = hidden});
      Model::backward(run, p, saved, in, Matrix<const T>(hidden));
    }
  }
};

/// What a step takes besides weights.
struct StepBytes {
  std::size_t saved = 0, scratch = 0;
  std::size_t total() const { return saved + scratch; }
};

/// Runs training steps of a model. Memory for a batch is planned, then taken, before anything runs; it only grows when
/// a batch is larger than every batch before.
template <class Model, Real T = float, Backend B = Cpu>
class Step {
 public:
  using Training = Mode<T, true, false>;

  Step() requires std::same_as<B, Cpu> : Step(cpu()) {}
  explicit Step(Device<B>& device) : device_(device) {}

  /// Adds gradients of sum_i loss_weights[i] * nll[i]; dropout_seed 0: no dropout.
  template <class W>
  BatchLoss accumulate(const W& weights, const Batch& batch, int image_token, std::uint64_t dropout_seed) {
    start(weights, batch, image_token, dropout_seed);
    return losses();
  }
  template <class W>
  BatchLoss evaluate(const W& weights, const Batch& batch, int image_token) {
    run<typename Training::inference>(weights.parameters(), batch, image_token, 0);
    return losses();
  }
  /// accumulate() that returns while the work may still be under way: losses() waits for it.
  template <class W>
  void start(const W& weights, const Batch& batch, int image_token, std::uint64_t dropout_seed) {
    run<Training>(weights.parameters(), batch, image_token, dropout_seed);
  }
  /// Memory that a launch after the step may use.
  Arena& scratch() { return scratch_; }
  /// Of the batch that ran last.
  BatchLoss losses() {
    std::vector<float> nll(static_cast<std::size_t>(labelled_.count()));
    Memory<B>::download(device_.stream(), nll.data(), nll_, nll.size() * sizeof(float));
    BatchLoss result;
    result.sequence_losses.assign(sequences_, 0.0);
    for (std::size_t i = 0; i < nll.size(); ++i) {
      const double loss = static_cast<double>(labelled_.weight[i]) * static_cast<double>(nll[i]);
      result.loss += loss;
      result.sequence_losses[static_cast<std::size_t>(labelled_.sequence[i])] += loss;
    }
    return result;
  }

  using Bytes = StepBytes;
  /// What a training step of so many tokens and patches needs, every token labelled: known before there is a batch.
  static Bytes plan(const Parameter* p, int tokens, int sequences, int patches) {
    Batch batch;
    batch.labels.assign(static_cast<std::size_t>(tokens), 0);
    batch.loss_weights.assign(static_cast<std::size_t>(tokens), 1.0f);
    for (int s = 0; s <= sequences; ++s)
      batch.cu_seqlens.push_back(static_cast<int>(std::int64_t{tokens} * s / sequences));
    Input<T> in;
    in.tokens = in.text.rows = tokens;
    in.text.sequences = sequences;
    in.vision.rows = patches;
    in.patches = {nullptr, patches, Model::patch_width};
    return plan<Training>(p, in, LabelledRows(batch));
  }
  /// Bytes that it holds now, for reuse.
  std::size_t held_bytes() const { return saved_arena_.capacity_bytes() + scratch_.capacity_bytes(); }
  /// Gives them back.
  void release() {
    if (held_bytes() == 0) return;
    device_.wait();
    saved_arena_ = Arena();
    scratch_ = Arena();
  }
  /// What a batch needs, found by running it on the Plan backend.
  template <class Mode_>
  static Bytes plan(const Parameter* p, Input<T> in, const LabelledRows& labelled, PlanRecord* record = nullptr) {
    Arena saved_arena, scratch;
    auto saved = std::make_unique<typename Model::template Saved<Mode_>>();
    if constexpr (Mode_::train) Model::template allocate<Mode_>(*saved, saved_arena, in.tokens, in.patches.rows);
    Run<Plan, Mode_> run{plan_stream<B>(record, scratch), &scratch, &in.text};
    float* const nll = scratch.take<float>(static_cast<std::size_t>(labelled.count()));
    Objective<Model>::run(run, p, *saved, in, LabelledRowsView(labelled), nll);
    return {saved_arena.peak_bytes(), scratch.peak_bytes()};
  }

 private:
  static Device<Cpu>& cpu() {
    static Device<Cpu> device;
    return device;
  }
  template <class Mode_>
  void run(const Parameter* parameters, const Batch& batch, int image_token, std::uint64_t dropout_seed) {
    Input<T> in = tables_.template build<T>(batch, image_token);
    in.text.dropout_seed = in.vision.dropout_seed = dropout_seed;
    labelled_ = LabelledRows(batch);
    sequences_ = batch.cu_seqlens.size() - 1;
    expect_vocabulary(batch);
    const Bytes bytes = plan<Mode_>(parameters, in, labelled_);
    reserve(saved_arena_, bytes.saved);
    reserve(scratch_, bytes.scratch);
    LabelledRowsView labelled(labelled_);
    const Stream<B> stream = device_.stream(&scratch_);
    stage(in, batch, labelled);
    staging_.send(stream);
    auto saved = std::make_unique<typename Model::template Saved<Mode_>>();
    if constexpr (Mode_::train) Model::template allocate<Mode_>(*saved, saved_arena_, in.tokens, in.patches.rows);
    nll_ = scratch_.take<float>(static_cast<std::size_t>(labelled.count));
    Objective<Model>::run(Run<B, Mode_>{stream, &scratch_, &in.text}, parameters, *saved, in, labelled, nll_);
  }
  void stage(Input<T>& in, const Batch& batch, LabelledRowsView& labelled) {
    const auto count = static_cast<std::size_t>(labelled.count);
    staging_.add(in, batch.patches.data(), Model::merge);
    staging_.add(labelled.row, count);
    staging_.add(labelled.target, count);
    staging_.add(labelled.weight, count);
  }
  static void reserve(Arena& arena, std::size_t bytes) {
    if (arena.counts() || arena.capacity_bytes() < bytes) {
      arena = Arena();  // its memory must be free before more is asked for
      arena = Arena(bytes, Memory<B>{});
    }
    arena.release_to(0);
  }
  /// A GPU cannot tell which id was wrong.
  void expect_vocabulary(const Batch& batch) const {
    const auto expect = [](int id, const char* what, std::size_t at) {
      if (id < 0 || id >= Model::vocab_size)
        fail("batch: ", what, " ", at, " is ", id, ", the model's vocabulary has ", Model::vocab_size,
             " entries: does the tokenizer belong to this model?");
    };
    for (std::size_t i = 0; i < batch.ids.size(); ++i) expect(batch.ids[i], "token", i);
    for (std::size_t i = 0; i < labelled_.target.size(); ++i)
      expect(labelled_.target[i], "the label predicted at token", static_cast<std::size_t>(labelled_.row[i]));
  }

  Device<B>& device_;
  Tables<Model> tables_;
  LabelledRows labelled_{Batch{}};
  std::size_t sequences_ = 0;
  Staging<B> staging_;
  Arena saved_arena_, scratch_;
  float* nll_ = nullptr;
};

}  // namespace lamina::train
