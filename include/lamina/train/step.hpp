#pragma once
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/log.hpp>
#include <lamina/kernel/logits/head_loss.hpp>
#include <lamina/kernel/plan.hpp>
#include <lamina/train/memory_advice.hpp>
#include <lamina/train/step/batch.hpp>
#include <lamina/train/step/shapes.hpp>

namespace lamina::train {

/// The loss of a model's next tokens on a batch, and its backward. The head sees labelled rows only.
template <class Model>
struct Objective {
  /// nll (rows) from a batch's input; with Run in training mode, gradients are added as well.
  template <class R, class S>
  static void run(R run, const Parameter* p, S& saved, Input<typename R::T>& in, const LabelledRowsView& labelled,
                  float* nll, const TokenLoss& loss) {
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
                                        .dw = R::mode::train && head.grad ? head.matrix_grad() : Matrix<float>{},
                                        .loss = loss});
    if constexpr (R::mode::train) {
      kernel::rows<B>::zero(run.stream,
                            hidden);  // the hidden states are no longer needed: their gradient takes their place
      kernel::rows<B>::scatter(run.stream, count, kernel::Rows<T>{.x = dx, .index = labelled.row, .y = hidden});
      Model::backward(run, p, saved, in, Matrix<const T>(hidden));
    }
  }
};

/// What a step does whatever the model: memory for a batch is planned, then taken, before anything runs; it only grows
/// when a batch is larger than every batch before. On a GPU the launches of a shape are recorded when it comes for the
/// second time, and from then on start with one call.
template <Real T, Backend B>
class StepRunner {
 public:
  bool records = true;             ///< whether launches of shapes that come again are recorded
  TokenLoss token_loss;            ///< set before the first step
  GradientWatch* watch = nullptr;  ///< hears what a training step's backward completes; set before the first step

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

 protected:
  using Known = typename StepShapes<B>::Known;
  /// A model's pass in one mode: what it needs, found on the Plan backend, and its launches.
  struct Pass {
    bool trains;
    StepBytes (*plan)(const Parameter*, Input<T>, const LabelledRows&);
    void (*launch)(StepRunner&, const Parameter*, const StepInput<T, B>&);
  };

  explicit StepRunner(Device<B>& device) : device_(device) {}

  Known& known(const Pass& pass, const Parameter* parameters, const StepInput<T, B>& batch) {
    return shapes_.find(batch.shape(parameters, pass.trains),
                        [&] { return pass.plan(parameters, batch.in, batch.labelled); });
  }
  void run(const Pass& pass, const Parameter* parameters, StepInput<T, B>& batch) {
    Known& shape = known(pass, parameters, batch);
    expect_room(shape);
    reserve(saved_arena_, shape.bytes.saved);
    reserve(scratch_, shape.bytes.scratch);
    reserve(tables_, batch.staging.remote_bytes());
    batch.staging.send_packed(device_.stream(), tables_);
    nll_ = scratch_.take<float>(static_cast<std::size_t>(batch.labelled.count()));
    ran_ = &batch;
    const auto launch = [&] {
      saved_arena_.release_to(0);
      GradientWatch* const hears = pass.trains ? watch : nullptr;
      if (hears) hears->begin();
      pass.launch(*this, parameters, batch);
      if (hears) hears->end();
    };
    record(shape, launch);
    shape.recorder.run(device_, launch);
  }

  Device<B>& device_;
  Arena saved_arena_, scratch_;
  float* nll_ = nullptr;

 private:
  /// Records the launches of a shape, if that can be done and other shapes leave room for it.
  template <class Launch>
  void record(Known& shape, Launch launch) {
    if (!records || !shape.recorder.ready() || shapes_.recorded() == StepShapes<B>::most_recorded) return;
    try {
      shape.recorder.record(device_, launch);
    } catch (const Error& e) {
      records = false;
      log_warning("lamina: steps are launched kernel by kernel, they cannot be recorded: ", e.what());
    }
  }
  /// Error, before anything is taken, if a batch needs more memory than there is.
  void expect_room(const Known& shape) const {
    const StepBytes& needed = shape.bytes;
    if (!Memory<B>::remote ||
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

  StepShapes<B> shapes_;
  const StepInput<T, B>* ran_ = nullptr;
  Arena tables_;
  std::vector<float> nll_values_;
};

/// Runs training steps of a model.
template <class Model, Real T = float, Backend B = Cpu>
class Step : public StepRunner<T, B> {
 public:
  using Training = Mode<T, true, false>;
  using Bytes = StepBytes;

  Step() requires(!Memory<B>::remote) : Step(cpu()) {}
  explicit Step(Device<B>& device) : StepRunner<T, B>(device) {}

  /// Adds gradients of sum_i loss_weights[i] * nll[i]; dropout_seed 0: no dropout.
  template <class W>
  BatchLoss accumulate(const W& weights, const Batch& batch, int image_token, std::uint64_t dropout_seed) {
    own_.read(batch, image_token, dropout_seed);
    start(weights, own_);
    return this->losses();
  }
  template <class W>
  BatchLoss evaluate(const W& weights, const Batch& batch, int image_token) {
    own_.read(batch, image_token, 0);
    this->run(pass<typename Training::inference>, weights.parameters(), own_);
    return this->losses();
  }
  /// accumulate() that returns while the work may still be under way: losses() waits for it. The batch lives until
  /// then.
  template <class W>
  void start(const W& weights, StepInput<T, B>& batch) {
    this->run(pass<Training>, weights.parameters(), batch);
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
    in.text.longest = (tokens + sequences - 1) / sequences;
    in.vision.rows = patches;
    in.patches = {nullptr, patches, Model::patch_width};
    in.text.dropout_seed = in.vision.dropout_seed = &any_seed;
    return plan<Training>(p, in, LabelledRows(batch));
  }
  /// The same of a batch.
  template <class W>
  Bytes bytes(const W& weights, const StepInput<T, B>& batch) {
    return this->known(pass<Training>, weights.parameters(), batch).bytes;
  }
  /// What a batch needs, found by running it on the Plan backend.
  template <class Mode_>
  static Bytes plan(const Parameter* p, Input<T> in, const LabelledRows& labelled, PlanRecord* record = nullptr) {
    Arena saved_arena, scratch;
    auto saved = std::make_unique<typename Model::template Saved<Mode_>>();
    if constexpr (Mode_::train) Model::template allocate<Mode_>(*saved, saved_arena, in.tokens, in.patches.rows);
    Run<Plan, Mode_> run{plan_stream<B>(record, scratch), &scratch, &in.text};
    float* const nll = scratch.take<float>(static_cast<std::size_t>(labelled.count()));
    Objective<Model>::run(run, p, *saved, in, LabelledRowsView(labelled), nll, {});
    return {saved_arena.peak_bytes(), scratch.peak_bytes()};
  }

 private:
  template <class Mode_>
  static Bytes plan_pass(const Parameter* p, Input<T> in, const LabelledRows& labelled) {
    return plan<Mode_>(p, in, labelled);
  }
  template <class Mode_>
  static void launch(StepRunner<T, B>& runner, const Parameter* parameters, const StepInput<T, B>& batch) {
    Step& step = static_cast<Step&>(runner);
    auto saved = std::make_unique<typename Model::template Saved<Mode_>>();
    Input<T> in = batch.in;
    if constexpr (Mode_::train) Model::template allocate<Mode_>(*saved, step.saved_arena_, in.tokens, in.patches.rows);
    const Run<B, Mode_> run{step.device_.stream(&step.scratch_), &step.scratch_, &in.text, step.watch};
    Objective<Model>::run(run, parameters, *saved, in, batch.labelled_view, step.nll_, step.token_loss);
  }
  template <class Mode_>
  static constexpr typename StepRunner<T, B>::Pass pass{Mode_::train, plan_pass<Mode_>, launch<Mode_>};

  static Device<Cpu>& cpu() {
    static Device<Cpu> device;
    return device;
  }

  StepBatch<Model, T, B> own_;  ///< of batches that come as such
};

}  // namespace lamina::train
