#pragma once
#include <span>
#include <variant>
#include <vector>

#include <lamina/compose/plan/staging.hpp>
#include <lamina/compose/plan/tables.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/optimizer/optimizer.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/train/objective/auxiliary.hpp>
#include <lamina/train/objective/objective.hpp>

/// A batch as a training step reads it. Making one takes the host alone, so it can be done while a GPU still works on
/// the batch before.
namespace lamina::train {

/// What the launches of a step and their arguments depend on, apart from where memory is: kernels choose by these
/// numbers, by nothing else that the host knows of a batch.
struct BatchShape {
  const Parameter* parameters = nullptr;
  bool trains = false, drops = false;
  int tokens = 0, sequences = 0, longest = 0, labelled = 0;
  int micro_batches = 0;  ///< if layers have a loss
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
            .micro_batches = in.text.auxiliary.parts,
            .patches = in.patches.rows,
            .frames = in.vision.sequences,
            .longest_frame = in.vision.longest,
            .windows = in.vision.windows,
            .longest_window = in.vision.longest_window};
  }
  /// Has what a step found out downloaded behind its launches: the scores of labelled rows, what clipping measured.
  /// Wait for it with found().
  void collect(Stream<B> stream, const Objective& objective, const RowScores& scores, const kernel::Clip* clip) {
    Arena counting;
    counting.take<kernel::Clip>(1), take_scores(counting, objective);
    if (found_block_.counts() || found_block_.capacity_bytes() < counting.used_bytes())
      found_block_ = Arena::staging(counting.used_bytes(), Memory<B>{});
    found_block_.release_to(0);
    clip_ = found_block_.template take<kernel::Clip>(1);
    scores_ = take_scores(found_block_, objective);
    Memory<B>::download_later(stream, clip_, clip, sizeof *clip);
    scores_.each([&](float* to, const float* from,
                     std::size_t n) { Memory<B>::download_later(stream, to, from, n * sizeof(float)); },
                 scores);
    mark_.set(stream);
  }
  /// What collect() brought.
  struct Found {
    BatchLoss loss;
    kernel::Clip clip;
  };
  Found found(const Objective& objective) {
    mark_.wait();
    return {loss(objective, scores_), *clip_};
  }
  /// From the scores of the labelled rows, in the host's memory.
  BatchLoss loss(const Objective& objective, const RowScores& scores) const {
    BatchLoss loss =
        std::visit([&](const auto& how) { return report(how, labelled, in.text.sequences, scores); }, objective);
    if (scores.sums) auxiliary_.add_to(loss, in.text.auxiliary, scores.sums);
    return loss;
  }
  RowScores take_scores(Arena& arena, const Objective& objective) const {
    return RowScores::take(arena, objective, labelled.count(), in.text.auxiliary);
  }

  Input<T> in;
  LabelledRows labelled;
  LabelledRowsView labelled_view;
  Staging<B> staging;

 protected:
  AuxiliaryLoss auxiliary_;

 private:
  Arena found_block_;  // on the host
  kernel::Clip* clip_ = nullptr;
  RowScores scores_;  // on the host too
  typename Device<B>::Mark mark_;
};

/// The same with what reads batches. Its memory serves batch after batch.
template <class Tables_, int vocab_size, Real T, Backend B>
class ReadInput : public StepInput<T, B> {
 public:
  /// dropout_seed 0: no dropout, and no noise. auxiliary: of the model's layers. noise_alpha: of NEFTune.
  void read(const Batch& batch, VisionTokens vision_tokens, std::uint64_t dropout_seed,
            const AuxiliaryLoss& auxiliary = {}, float noise_alpha = 0) {
    this->in = tables_.template build<T>(batch, vision_tokens);
    this->in.noise_alpha = noise_alpha;
    dropout_seed_ = dropout_seed;
    if (dropout_seed != 0) this->in.text.dropout_seed = this->in.vision.dropout_seed = &dropout_seed_;
    this->labelled.read(batch);
    cu_parts_ = batch.cu_parts.empty() ? std::vector<int>{0, this->in.tokens} : batch.cu_parts;
    this->auxiliary_ = auxiliary;
    AuxiliarySums& sums = this->in.text.auxiliary = auxiliary.of(cu_parts_);
    expect_vocabulary(batch);
    LabelledRowsView& view = this->labelled_view = LabelledRowsView(this->labelled);
    const auto count = static_cast<std::size_t>(view.count);
    this->staging.clear();
    const std::span<const float> patches(batch.patches);
    this->staging.add(this->in, {&patches, 1}, Tables_::visual_tokens);
    this->staging.add(sums.cu_parts, static_cast<std::size_t>(sums.parts) + 1);
    this->staging.add(view.row, count);
    this->staging.add(view.target, count);
    this->staging.add(view.weight, count);
    this->staging.add(view.judged, static_cast<std::size_t>(view.sequences));
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
  std::vector<int> cu_parts_;
  std::uint64_t dropout_seed_ = 0;
};

/// What reads batches of a model.
template <class Model, Real T, Backend B>
using StepBatch = ReadInput<Tables<Model>, Model::vocab_size, T, B>;

}  // namespace lamina::train
