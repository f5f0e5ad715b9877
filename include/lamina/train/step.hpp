#pragma once
#include <vector>

#include <lamina/compose/plan/weights.hpp>
#include <lamina/core/gradient/order.hpp>
#include <lamina/core/log.hpp>
#include <lamina/kernel/plan.hpp>
#include <lamina/train/memory_advice.hpp>
#include <lamina/train/step/batch.hpp>
#include <lamina/train/step/labelled_pass.hpp>
#include <lamina/train/step/shapes.hpp>

namespace lamina::train {

/// What a step does whatever the model: memory for a batch is planned, then taken, before anything runs; it only grows
/// when a batch is larger than every batch before. On a GPU the launches of a shape are recorded when it comes for the
/// second time, and from then on start with one call.
template <Real T, Backend B>
class StepRunner {
 public:
  bool records = true;  ///< whether launches of shapes that come again are recorded
  /// These are set before the first step.
  Objective objective;
  AuxiliaryLoss auxiliary;               ///< of the model's layers
  const Parameter* reference = nullptr;  ///< the model's parameters without their adapters, for an objective that asks
  GradientListener* watch = nullptr;     ///< is called with what a training step's backward completes

  /// Shapes whose launches are recorded.
  int recorded() const { return shapes_.recorded(); }
  /// Of the labelled rows of the batch that was started last, in the backend's memory.
  const RowScores& scores() const { return scores_; }
  /// Memory that a launch after the step may use.
  Arena& scratch() { return scratch_; }
  /// Of the batch that ran last.
  BatchLoss losses() {
    Arena host = [&] {
      Arena counting;
      ran_->take_scores(counting, objective);
      return Arena(counting.used_bytes());
    }();
    const RowScores here = ran_->take_scores(host, objective);
    here.each([&](float* to, const float* from,
                  std::size_t n) { Memory<B>::download(device_.stream(), to, from, n * sizeof(float)); },
              scores_);
    return ran_->loss(objective, here);
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
    StepBytes (*plan)(const Parameter*, Input<T>, const LabelledRows&, const Objective&);
    void (*launch)(StepRunner&, const Parameter*, const StepInput<T, B>&);
  };

  explicit StepRunner(Device<B>& device) : device_(device) {}

  Known& known(const Pass& pass, const Parameter* parameters, const StepInput<T, B>& batch) {
    return shapes_.find(batch.shape(parameters, pass.trains),
                        [&] { return pass.plan(parameters, batch.in, batch.labelled, objective); });
  }
  void run(const Pass& pass, const Parameter* parameters, StepInput<T, B>& batch) {
    Known& shape = known(pass, parameters, batch);
    expect_room(shape);
    reserve(saved_arena_, shape.bytes.saved);
    reserve(scratch_, shape.bytes.scratch);
    reserve(tables_, batch.staging.remote_bytes());
    batch.staging.send_packed(device_.stream(), tables_);
    scores_ = batch.take_scores(scratch_, objective);
    ran_ = &batch;
    const auto launch = [&] {
      saved_arena_.release_to(0);
      GradientListener* const hears = pass.trains ? watch : nullptr;
      if (hears) hears->begin();
      pass.launch(*this, parameters, batch);
      if (hears) hears->end();
    };
    record(shape, launch);
    shape.recorder.run(device_, launch);
  }

  Device<B>& device_;
  Arena saved_arena_, scratch_;
  RowScores scores_;

 private:
  /// Records the launches of a shape, if that can be done and other shapes leave room for it.
  template <class Launch>
  void record(Known& shape, Launch launch) {
    if (!records || !shape.recorder.ready() || shapes_.recorded() == StepShapes<B>::most_recorded) return;
    try {
      shape.recorder.record(device_, launch);
    } catch (const Error& e) {
      records = false;
      log_warning(log_name(), ": steps are launched kernel by kernel, they cannot be recorded: ", e.what());
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
};

/// Runs training steps of a model.
template <class Model, Real T = float, Backend B = Cpu>
class Step : public StepRunner<T, B> {
 public:
  using Training = Mode<T, true, false>;
  using Bytes = StepBytes;

  Step() requires(!Memory<B>::remote) : Step(cpu()) {}
  explicit Step(Device<B>& device) : StepRunner<T, B>(device) {}

  /// Adds gradients of sum_i loss_weights[i] * nll[i] and of the layers' loss; dropout_seed 0: no dropout.
  template <class W>
  BatchLoss accumulate(const W& weights, const Batch& batch, VisionTokens vision_tokens, std::uint64_t dropout_seed) {
    own_.read(batch, vision_tokens, dropout_seed, this->auxiliary);
    start(weights, own_);
    return this->losses();
  }
  template <class W>
  BatchLoss evaluate(const W& weights, const Batch& batch, VisionTokens vision_tokens) {
    own_.read(batch, vision_tokens, 0, this->auxiliary);
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
  /// watch: is called with what its backward completes.
  static Bytes plan(const Parameter* p, int tokens, int sequences, int patches, const Objective& objective = {},
                    GradientListener* watch = nullptr) {
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
    if (Model::visual_tokens.per_frame > 0) in.vision.sequences = tokens / Model::visual_tokens.per_frame;
    in.patches = {nullptr, patches, Model::patch_width};
    in.text.dropout_seed = in.vision.dropout_seed = &any_seed;
    return plan<Training>(p, in, LabelledRows(batch), nullptr, objective, watch);
  }
  /// The same of a batch.
  template <class W>
  Bytes bytes(const W& weights, const StepInput<T, B>& batch) {
    return this->known(pass<Training>, weights.parameters(), batch).bytes;
  }
  /// The order in which every step's backward completes gradients: one without images completes nothing of the vision
  /// tower, whose tensors come last.
  static GradientOrder gradient_order(const Parameter* p) {
    constexpr int tokens = 16, patches = 16;
    GradientOrder order(p, Model::head(p));
    plan(p, tokens, 1, patches, {}, &order);
    return order;
  }
  /// What a batch needs, found by running it on the Plan backend.
  template <class Mode_>
  static Bytes plan(const Parameter* p, Input<T> in, const LabelledRows& labelled, PlanRecord* record = nullptr,
                    const Objective& objective = {}, GradientListener* watch = nullptr) {
    Arena saved_arena, scratch;
    auto saved = std::make_unique<typename Model::template Saved<Mode_>>();
    if constexpr (Mode_::train) Model::template allocate<Mode_>(*saved, saved_arena, in.tokens, in.patches.rows);
    Run<Plan, Mode_> run{plan_stream<B>(record, scratch), &scratch, &in.text, watch};
    const RowScores scores = RowScores::take(scratch, objective, labelled.count(), in.text.auxiliary);
    LabelledPass<Model>::run(run, p, *saved, in, LabelledRowsView(labelled), objective, scores, p);
    return {saved_arena.peak_bytes(), scratch.peak_bytes()};
  }

 private:
  template <class Mode_>
  static Bytes plan_pass(const Parameter* p, Input<T> in, const LabelledRows& labelled, const Objective& objective) {
    return plan<Mode_>(p, in, labelled, nullptr, objective);
  }
  template <class Mode_>
  static void launch(StepRunner<T, B>& runner, const Parameter* parameters, const StepInput<T, B>& batch) {
    Step& step = static_cast<Step&>(runner);
    auto saved = std::make_unique<typename Model::template Saved<Mode_>>();
    Input<T> in = batch.in;
    if constexpr (Mode_::train) Model::template allocate<Mode_>(*saved, step.saved_arena_, in.tokens, in.patches.rows);
    const Run<B, Mode_> run{step.device_.stream(&step.scratch_), &step.scratch_, &in.text, step.watch};
    LabelledPass<Model>::run(run, parameters, *saved, in, batch.labelled_view, step.objective, step.scores_,
                             step.reference);
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
