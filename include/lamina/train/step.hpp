#pragma once
#include <iostream>
#include <vector>

#include <lamina/compose/weights.hpp>
#include <lamina/kernel/head_loss.hpp>
#include <lamina/kernel/plan.hpp>
#include <lamina/train/step_batch.hpp>
#include <lamina/train/step_shapes.hpp>

namespace lamina::train {

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

/// Runs training steps of a model. Memory for a batch is planned, then taken, before anything runs; it only grows when
/// a batch is larger than every batch before. On a GPU the launches of a shape are recorded when it comes for the
/// second time, and from then on start with one call.
template <class Model, Real T = float, Backend B = Cpu>
class Step {
 public:
  using Training = Mode<T, true, false>;
  using Bytes = StepBytes;

  Step() requires std::same_as<B, Cpu> : Step(cpu()) {}
  explicit Step(Device<B>& device) : device_(device) {}

  bool records = true;  ///< whether launches of shapes that come again are recorded

  /// Adds gradients of sum_i loss_weights[i] * nll[i]; dropout_seed 0: no dropout.
  template <class W>
  BatchLoss accumulate(const W& weights, const Batch& batch, int image_token, std::uint64_t dropout_seed) {
    own_.read(batch, image_token, dropout_seed);
    start(weights, own_);
    return losses();
  }
  template <class W>
  BatchLoss evaluate(const W& weights, const Batch& batch, int image_token) {
    own_.read(batch, image_token, 0);
    run<typename Training::inference>(weights.parameters(), own_);
    return losses();
  }
  /// accumulate() that returns while the work may still be under way: losses() waits for it. The batch lives until
  /// then.
  template <class W>
  void start(const W& weights, StepInput<T, B>& batch) {
    run<Training>(weights.parameters(), batch);
  }
  /// Shapes whose launches are recorded.
  int recorded() const { return shapes_.recorded(); }
  /// The nll of the labelled rows of the batch that was started last, in the backend's memory.
  const float* nll() const { return nll_; }
  /// Memory that a launch after the step may use.
  Arena& scratch() { return scratch_; }
  /// Of the batch that ran last.
  BatchLoss losses() {
    nll_values_.resize(static_cast<std::size_t>(ran_->labelled.count()));
    Memory<B>::download(device_.stream(), nll_values_.data(), nll_, nll_values_.size() * sizeof(float));
    return ran_->loss(nll_values_);
  }

  /// What a training step of so many tokens and patches needs, every token labelled: known before there is a batch.
  static Bytes plan(const Parameter* p, int tokens, int sequences, int patches) {
    static constexpr std::uint64_t any_seed = 1;
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
    in.text.dropout_seed = in.vision.dropout_seed = &any_seed;
    return plan<Training>(p, in, LabelledRows(batch));
  }
  /// The same of a batch.
  template <class W>
  Bytes bytes(const W& weights, const StepInput<T, B>& batch) {
    return known<Training>(weights.parameters(), batch).bytes;
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
  /// Bytes that it holds now, for reuse.
  std::size_t held_bytes() const { return saved_arena_.capacity_bytes() + scratch_.capacity_bytes(); }
  /// Gives them back.
  void release() {
    if (held_bytes() == 0) return;
    device_.wait();
    shapes_.forget_recorded();
    saved_arena_ = Arena();
    scratch_ = Arena();
  }

 private:
  using Known = typename StepShapes<B>::Known;

  static Device<Cpu>& cpu() {
    static Device<Cpu> device;
    return device;
  }
  template <class Mode_>
  Known& known(const Parameter* parameters, const StepInput<T, B>& batch) {
    return shapes_.find(batch.shape(parameters, Mode_::train),
                        [&] { return plan<Mode_>(parameters, batch.in, batch.labelled); });
  }
  template <class Mode_>
  void run(const Parameter* parameters, StepInput<T, B>& batch) {
    Known& shape = known<Mode_>(parameters, batch);
    expect_room(shape);
    reserve(saved_arena_, shape.bytes.saved);
    reserve(scratch_, shape.bytes.scratch);
    reserve(tables_, batch.staging.remote_bytes());
    batch.staging.send_packed(device_.stream(), tables_);
    nll_ = scratch_.take<float>(static_cast<std::size_t>(batch.labelled.count()));
    ran_ = &batch;
    ++shape.runs;
    if (!replay<Mode_>(shape, parameters, batch)) launch<Mode_>(parameters, batch);
  }
  template <class Mode_>
  void launch(const Parameter* parameters, const StepInput<T, B>& batch) {
    auto saved = std::make_unique<typename Model::template Saved<Mode_>>();
    Input<T> in = batch.in;
    saved_arena_.release_to(0);
    if constexpr (Mode_::train) Model::template allocate<Mode_>(*saved, saved_arena_, in.tokens, in.patches.rows);
    Objective<Model>::run(Run<B, Mode_>{device_.stream(&scratch_), &scratch_, &in.text}, parameters, *saved, in,
                          batch.labelled_view, nll_);
  }
  /// Starts the launches of a shape as they were recorded, or records them first. False where they must be launched one
  /// by one: a shape's first run builds plans and loads kernels, which a record may not.
  template <class Mode_>
  bool replay(Known& shape, const Parameter* parameters, const StepInput<T, B>& batch) {
    if constexpr (std::is_same_v<B, Cuda>) {
      if (!records || shape.runs < 2) return false;
      if (!shape.recorded()) {
        if (shapes_.recorded() == StepShapes<B>::most_recorded) return false;
        try {
          shape.graph.record(device_.gpu(), [&] { launch<Mode_>(parameters, batch); });
        } catch (const Error& e) {
          records = false;
          std::cerr << "lamina: steps are launched kernel by kernel, they cannot be recorded: " << e.what()
                    << std::endl;
          return false;
        }
      }
      shape.graph.launch(device_.gpu());
      return true;
    } else {
      return false;
    }
  }
  /// Error, before anything is taken, where a batch needs more memory than there is.
  void expect_room(const Known& shape) const {
    const StepBytes& needed = shape.bytes;
    if (std::is_same_v<B, Cpu> ||
        (needed.saved <= saved_arena_.capacity_bytes() && needed.scratch <= scratch_.capacity_bytes()))
      return;
    const std::size_t room = static_cast<std::size_t>(device_.free_bytes()) + held_bytes();
    if (needed.total() <= room) return;
    const auto gib = [](std::size_t bytes) { return cat(static_cast<double>(bytes >> 20) / 1024, " GiB"); };
    fail("the GPU is out of memory: a step of ", shape.shape.tokens, " tokens in ", shape.shape.sequences,
         " sequences and ", shape.shape.patches, " image patches needs ", gib(needed.total()), " (", gib(needed.saved),
         " saved for backward, ", gib(needed.scratch), " workspace), ", gib(room),
         " are free. What lowers it: ", what_lowers_memory);
  }
  /// Empties an arena that has room for so many bytes.
  void reserve(Arena& arena, std::size_t bytes) {
    if (arena.counts() || arena.capacity_bytes() < bytes) {
      shapes_.forget_recorded();
      arena = Arena();  // its memory must be free before more is asked for
      arena = Arena(bytes, Memory<B>{});
    }
    arena.release_to(0);
  }

  Device<B>& device_;
  StepShapes<B> shapes_;
  StepBatch<Model, T, B> own_;  ///< of batches that come as such
  const StepInput<T, B>* ran_ = nullptr;
  Arena saved_arena_, scratch_, tables_;
  float* nll_ = nullptr;
  std::vector<float> nll_values_;
};

}  // namespace lamina::train
