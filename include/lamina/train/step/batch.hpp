#pragma once
#include <span>
#include <vector>

#include <lamina/compose/plan/staging.hpp>
#include <lamina/compose/plan/tables.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/elementwise/optimizer.hpp>
#include <lamina/model/train_session.hpp>

/// A batch as a training step reads it. Making one takes the host alone, so it can be done while a GPU still works on
/// the batch before.
namespace lamina::train {

/// The labelled tokens of a batch: row r of the hidden states predicts `target`. A sequence's first token is nobody's
/// prediction, so it carries no loss.
struct LabelledRows {
  std::vector<int> row, target, sequence;
  std::vector<float> weight;

  LabelledRows() = default;
  explicit LabelledRows(const Batch& batch) { read(batch); }
  void read(const Batch& batch) {
    row.clear(), target.clear(), sequence.clear(), weight.clear();
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

/// The same in the memory that a backend's kernels read: (count) each.
struct LabelledRowsView {
  int count = 0;
  const int* row = nullptr;
  const int* target = nullptr;
  const float* weight = nullptr;

  LabelledRowsView() = default;
  explicit LabelledRowsView(const LabelledRows& rows)
      : count(rows.count()), row(rows.row.data()), target(rows.target.data()), weight(rows.weight.data()) {}
};

/// What the launches of a step and their arguments depend on, apart from where memory is: kernels choose by these
/// numbers, by nothing else that the host knows of a batch.
struct BatchShape {
  const Parameter* parameters = nullptr;
  bool trains = false, drops = false;
  int tokens = 0, sequences = 0, longest = 0, labelled = 0;
  int patches = 0, frames = 0, longest_frame = 0, windows = 0, longest_window = 0;
  bool operator==(const BatchShape&) const = default;
};

/// A batch's tables, packed for the way to where kernels read them. On Cpu they stay in the batch, which must outlive
/// the step.
template <Real T, Backend B>
class StepInput {
 public:
  StepInput() = default;
  StepInput(const StepInput&) = delete;
  StepInput& operator=(const StepInput&) = delete;

  BatchShape shape(const Parameter* parameters, bool trains) const {
    return {.parameters = parameters,
            .trains = trains,
            .drops = in.text.dropout_seed != nullptr,
            .tokens = in.tokens,
            .sequences = in.text.sequences,
            .longest = in.text.longest,
            .labelled = labelled.count(),
            .patches = in.patches.rows,
            .frames = in.vision.sequences,
            .longest_frame = in.vision.longest,
            .windows = in.vision.windows,
            .longest_window = in.vision.longest_window};
  }
  /// Has what a step found out downloaded behind its launches: the nll of labelled rows, what clipping measured. Wait
  /// for it with found().
  void collect(Stream<B> stream, const float* nll, const kernel::Clip* clip) {
    const auto count = static_cast<std::size_t>(labelled.count());
    Arena counting;
    counting.take<kernel::Clip>(1), counting.take<float>(count);
    if (found_block_.counts() || found_block_.capacity_bytes() < counting.used_bytes())
      found_block_ = Arena::staging(counting.used_bytes(), Memory<B>{});
    found_block_.release_to(0);
    clip_ = found_block_.template take<kernel::Clip>(1);
    nll_ = found_block_.template take<float>(count);
    Memory<B>::download_later(stream, clip_, clip, sizeof *clip);
    Memory<B>::download_later(stream, nll_, nll, count * sizeof(float));
    mark_.set(stream);
  }
  /// What collect() brought.
  struct Found {
    BatchLoss loss;
    kernel::Clip clip;
  };
  Found found() {
    mark_.wait();
    return {loss({nll_, static_cast<std::size_t>(labelled.count())}), *clip_};
  }
  /// Each sequence's share of the loss, from the nll of the labelled rows.
  BatchLoss loss(std::span<const float> nll) const {
    BatchLoss result;
    result.sequence_losses.assign(static_cast<std::size_t>(in.text.sequences), 0.0);
    for (std::size_t i = 0; i < nll.size(); ++i) {
      const double loss = static_cast<double>(labelled.weight[i]) * static_cast<double>(nll[i]);
      result.loss += loss;
      result.sequence_losses[static_cast<std::size_t>(labelled.sequence[i])] += loss;
    }
    return result;
  }

  Input<T> in;
  LabelledRows labelled;
  LabelledRowsView labelled_view;
  Staging<B> staging;

 private:
  Arena found_block_;  // on the host
  kernel::Clip* clip_ = nullptr;
  float* nll_ = nullptr;
  typename Device<B>::Mark mark_;
};

/// The same with what reads batches. Its memory serves batch after batch.
template <class Tables_, int vocab_size, Real T, Backend B>
class ReadInput : public StepInput<T, B> {
 public:
  /// dropout_seed 0: no dropout.
  void read(const Batch& batch, int image_token, std::uint64_t dropout_seed) {
    this->in = tables_.template build<T>(batch, image_token);
    dropout_seed_ = dropout_seed;
    if (dropout_seed != 0) this->in.text.dropout_seed = this->in.vision.dropout_seed = &dropout_seed_;
    this->labelled.read(batch);
    expect_vocabulary(batch);
    LabelledRowsView& view = this->labelled_view = LabelledRowsView(this->labelled);
    const auto count = static_cast<std::size_t>(view.count);
    this->staging.clear();
    const std::span<const float> patches(batch.patches);
    this->staging.add(this->in, {&patches, 1}, Tables_::merge);
    this->staging.add(view.row, count);
    this->staging.add(view.target, count);
    this->staging.add(view.weight, count);
    this->staging.pack();
  }

 private:
  /// A GPU cannot tell which id was wrong.
  void expect_vocabulary(const Batch& batch) const {
    const auto expect = [](int id, const char* what, std::size_t at) {
      if (id < 0 || id >= vocab_size)
        fail("batch: ", what, " ", at, " is ", id, ", the model's vocabulary has ", vocab_size,
             " entries: does the tokenizer belong to this model?");
    };
    const LabelledRows& labelled = this->labelled;
    for (std::size_t i = 0; i < batch.ids.size(); ++i) expect(batch.ids[i], "token", i);
    for (std::size_t i = 0; i < labelled.target.size(); ++i)
      expect(labelled.target[i], "the label predicted at token", static_cast<std::size_t>(labelled.row[i]));
  }

  Tables_ tables_;
  std::uint64_t dropout_seed_ = 0;
};

/// What reads batches of a model.
template <class Model, Real T, Backend B>
using StepBatch = ReadInput<Tables<Model>, Model::vocab_size, T, B>;

}  // namespace lamina::train
