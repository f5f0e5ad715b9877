#pragma once
#include <array>
#include <map>
#include <memory>
#include <utility>
#include <variant>

#include <lamina/compose/wrap/recompute.hpp>
#include <lamina/fuse/describe.hpp>
#include <lamina/train/step.hpp>
#include <lamina/train/step/trained_weights.hpp>

namespace lamina::train {

/// TrainSession for one model type on one backend: its weights, its steps, its optimizer. Include the backend's
/// kernels, kernel/cpu.hpp or kernel/cuda.hpp, as well.
template <class Model, Real T = float, Backend B = Cpu>
class ModelTrainSession final : public TrainedWeights<T, B> {
  using Base = TrainedWeights<T, B>;
  using Base::device, Base::dropout_seed, Base::optimizer, Base::weights;

 public:
  ModelTrainSession(const ModelSource& source, const TrainableOptions& options)
      : Base(list_tensors<Model>(), source, options, PlainStep::gradient_order),
        vision_tokens_(source.config.vision_tokens()),
        rank_(options.method == TrainableOptions::Method::lora ? options.lora_rank : 0),
        recompute_(options.recompute),
        noise_alpha_(options.noise_alpha) {
    step_.objective = recomputing_step_.objective = options.objective;
    step_.auxiliary = shared_auxiliary_ = auxiliary_of<Model>();
    if (options.auxiliary_coefficient != 0 && step_.auxiliary.sums == 0)
      fail(
          "moe_aux_loss_coef: no layer of this model's decoder chooses experts, or they have different numbers of "
          "them: ",
          "leave it out");
    step_.auxiliary.coefficient = options.auxiliary_coefficient;
    shared_auxiliary_.coefficient = options.auxiliary_coefficient / static_cast<float>(options.group->size());
    evaluated_ = options.objective;
    if (auto* loss = std::get_if<TokenLoss>(&evaluated_)) loss->measures_accuracy = options.measures_accuracy;
    step_.reference = recomputing_step_.reference = this->reference();
    step_.watch = recomputing_step_.watch = this->gradient_watch();
    step_.records = recomputing_step_.records = !this->divides_gradients();
  }

  void prepare(const Batch& batch) override {
    if (started_ - finished_ == prepared_.size()) fail("TrainSession: prepare() while two steps are under way");
    Prepared& next = prepared_[started_ % prepared_.size()];
    next.input.read(batch, vision_tokens_, dropout_seed(), shared_auxiliary_, noise_alpha_);
    next.recomputes = recomputes(next.input);
    next.ready = true;
  }
  void start(const OptimizerSettings& settings, double max_gradient_norm) override {
    Prepared& now = prepared_[started_ % prepared_.size()];
    if (!std::exchange(now.ready, false)) fail("TrainSession: start() needs a batch that was prepared");
    const auto run = [&](auto& step, auto& other) {
      other.release();
      step.start(weights(), now.input);
      this->update(settings, max_gradient_norm, device().stream(&step.scratch()));
      now.input.collect(device().stream(), step.objective, step.scores(), optimizer().clip());
    };
    if (now.recomputes)
      run(recomputing_step_, step_);
    else
      run(step_, recomputing_step_);
    ++started_;
  }
  StepResult finish() override {
    if (started_ == finished_) fail("TrainSession: finish() without a step under way");
    auto [loss, clip] = prepared_[finished_++ % prepared_.size()].input.found(step_.objective);
    return {std::move(loss), optimizer().finish_with(clip)};
  }
  BatchLoss evaluate(const Batch& batch) override {
    const Objective trained = std::exchange(step_.objective, evaluated_);
    BatchLoss loss = step_.evaluate(weights(), batch, vision_tokens_);
    step_.objective = trained;
    return loss;
  }

  void set_optimizer_steps(std::int64_t steps) override {
    optimizer().steps = steps;
    for (Prepared& p : prepared_) p.ready = false;  // dropout depends on the step
  }
  MemoryPlan plan(int tokens, int sequences, int patches) const override {
    const auto bytes = recomputes(tokens, sequences, patches)
                           ? RecomputingStep::plan(weights().parameters(), tokens, sequences, patches, step_.objective)
                           : PlainStep::plan(weights().parameters(), tokens, sequences, patches, step_.objective);
    const auto gradients = static_cast<std::int64_t>(weights().gradient_count() * sizeof(float));
    return {.weights = static_cast<std::int64_t>(weights().frozen_bytes()),
            .trainable = static_cast<std::int64_t>(weights().learning_bytes(true)) - gradients,
            .gradients = gradients,
            .optimizer = static_cast<std::int64_t>(optimizer().bytes(weights())),
            .saved = static_cast<std::int64_t>(bytes.saved),
            .workspace = static_cast<std::int64_t>(bytes.scratch),
            .gradients_left_out = this->gradients_left_out(),
            .free = this->free_at_start(),
            .in_use = this->in_use_at_start(),
            .stored = this->stored()};
  }

  std::int64_t memory_bytes() const override { return device().used_bytes(); }

  std::string describe() const override {
    std::map<std::string_view, const TensorSlot*> slots;
    for (const TensorSlot& slot : weights().slots()) slots[slot.spec.path.view()] = &slot;
    return lamina::describe<Model, T>(
        {.rank = rank_,
         .stored = [&](const TensorSpec& tensor) { return slots.at(tensor.path.view())->quantization; },
         .learns = [&](const TensorSpec& tensor) { return slots.at(tensor.path.view())->learns; }});
  }

 private:
  using PlainStep = Step<Model, T, B>;
  using RecomputingStep = Step<RecomputeUnder<Model, typename Model::language_tag>, T, B>;

  /// Whether a step recomputes the decoder's activations: as asked for, else if they would not fit. `plan` finds
  /// what a step takes that does not.
  template <class F>
  bool recomputes_where(F plan) const {
    if (recompute_) return *recompute_;
    const std::int64_t held = static_cast<std::int64_t>(step_.held_bytes() + recomputing_step_.held_bytes());
    const auto needed = static_cast<std::int64_t>(plan().total());
    if (needed <= held) return false;  // the usual case: no look at the device's free memory
    const std::int64_t free = device().free_bytes();
    return free > 0 && needed > free + held;
  }
  bool recomputes(const StepInput<T, B>& batch) {
    return recomputes_where([&] { return step_.bytes(weights(), batch); });
  }
  bool recomputes(int tokens, int sequences, int patches) const {
    return recomputes_where(
        [&] { return PlainStep::plan(weights().parameters(), tokens, sequences, patches, step_.objective); });
  }

  VisionTokens vision_tokens_;
  int rank_;  ///< of adapters
  std::optional<bool> recompute_;
  float noise_alpha_;
  AuxiliaryLoss shared_auxiliary_;  ///< of training steps, which ranks sum; evaluations have that of step_
  Objective evaluated_;             ///< what evaluations compute
  struct Prepared {
    StepBatch<Model, T, B> input;
    bool recomputes = false, ready = false;
  };
  std::array<Prepared, Optimizer<B>::most_under_way> prepared_;  // in turn
  std::size_t started_ = 0, finished_ = 0;                       // steps
  PlainStep step_{device()};
  RecomputingStep recomputing_step_{device()};
};

}  // namespace lamina::train
