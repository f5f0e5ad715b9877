#pragma once
#include <array>
#include <functional>
#include <memory>
#include <utility>

#include <lamina/checkpoint/model_source.hpp>
#include <lamina/compose/recompute.hpp>
#include <lamina/core/torch_random.hpp>
#include <lamina/train/optimizer.hpp>
#include <lamina/train/step.hpp>
#include <lamina/train/trainable.hpp>

namespace lamina::train {

/// TrainSession for one model type on one backend: its weights, its steps, its optimizer. Include the backend's
/// kernels, kernel/cpu.hpp or kernel/cuda.hpp, as well.
template <class Model, Real T = float, Backend B = Cpu>
class ModelTrainSession final : public TrainSession {
 public:
  ModelTrainSession(const checkpoint::ModelSource& source, const TrainableOptions& options)
      : image_token_(source.config.image_token_id),
        seed_(options.seed),
        recompute_(options.recompute),
        weights_(choose(source, options)),
        optimizer_(weights_.learning_count()) {
    if constexpr (std::is_same_v<B, Cuda>) device_.gpu().deterministic = options.deterministic;
    if (weights_.learning_count() == 0)
      fail("nothing is left to train: finetuning_type and the freeze_* keys freeze every tensor");
    weights_.allocate(true, device_.stream());
    checkpoint::load_weights(weights_, source);
    start_adapters(source, options);
    optimizer_.allocate(weights_, device_.stream());
  }

  void prepare(const Batch& batch) override {
    if (started_ - finished_ == prepared_.size()) fail("TrainSession: prepare() while two steps are under way");
    Prepared& next = prepared_[started_ % prepared_.size()];
    next.input.read(batch, image_token_, dropout_ > 0 ? dropout_seed() : 0);
    next.recomputes = recomputes(next.input);
    next.ready = true;
  }
  void start(const AdamW& settings, double max_gradient_norm) override {
    Prepared& now = prepared_[started_ % prepared_.size()];
    if (!std::exchange(now.ready, false)) fail("TrainSession: start() needs a batch that was prepared");
    const auto run = [&](auto& step, auto& other) {
      other.release();
      step.start(weights_, now.input);
      optimizer_.step(weights_, settings, max_gradient_norm, device_.stream(&step.scratch()));
      now.input.collect(device_.stream(), step.nll(), optimizer_.clip());
    };
    if (now.recomputes)
      run(recomputing_step_, step_);
    else
      run(step_, recomputing_step_);
    ++started_;
  }
  StepResult finish() override {
    if (started_ == finished_) fail("TrainSession: finish() without a step under way");
    auto [loss, clip] = prepared_[finished_++ % prepared_.size()].input.found();
    return {std::move(loss), optimizer_.finish_with(clip)};
  }
  BatchLoss evaluate(const Batch& batch) override { return step_.evaluate(weights_, batch, image_token_); }

  std::vector<TrainableTensor> trainable() override {
    state_.read(weights_, optimizer_, device_.stream());
    std::vector<TrainableTensor> tensors;
    for (const TensorSlot& slot : weights_.slots()) {
      const auto count = static_cast<std::size_t>(slot.spec.count());
      if (!slot.learns || count == 0) continue;
      tensors.push_back({(slot.spec.adapter ? "base_model.model." : "") + slot.name(),
                         {slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank},
                         state_.values().subspan(slot.offset, count),
                         state_.exp_avg().subspan(slot.offset, count),
                         state_.exp_avg_sq().subspan(slot.offset, count),
                         slot.spec.rank > 1});
    }
    return tensors;
  }
  bool on_device() const override { return std::is_same_v<B, Cuda>; }
  void restored() override { state_.write(weights_, optimizer_, device_.stream()); }
  std::int64_t optimizer_steps() const override { return optimizer_.steps; }
  void set_optimizer_steps(std::int64_t steps) override {
    optimizer_.steps = steps;
    for (Prepared& p : prepared_) p.ready = false;  // dropout depends on the step
  }
  std::int64_t param_count() const override { return weights_.param_count(); }
  std::int64_t trainable_count() const override { return static_cast<std::int64_t>(weights_.learning_count()); }

  MemoryPlan plan(int tokens, int sequences, int patches) const override {
    const auto bytes = recomputes(tokens, sequences, patches)
                           ? RecomputingStep::plan(weights_.parameters(), tokens, sequences, patches)
                           : PlainStep::plan(weights_.parameters(), tokens, sequences, patches);
    const auto learning = static_cast<std::int64_t>(weights_.learning_count() * sizeof(float));
    return {.weights = static_cast<std::int64_t>(weights_.frozen_bytes()),
            .trainable = static_cast<std::int64_t>(weights_.learning_bytes(true)) - learning,
            .gradients = learning,
            .optimizer = static_cast<std::int64_t>(Optimizer<B>::bytes(weights_.learning_count())),
            .saved = static_cast<std::int64_t>(bytes.saved),
            .workspace = static_cast<std::int64_t>(bytes.scratch),
            .free = free_at_start_};
  }

 private:
  using Choice = typename Weights<Model, T, B>::Choice;
  using PlainStep = Step<Model, T, B>;
  using RecomputingStep = Step<RecomputeUnder<Model, name::language_model>, T, B>;

  /// Whether a step recomputes the decoder's activations: as asked for, else where they would not fit. `plan` finds
  /// what a step takes that does not.
  template <class F>
  bool recomputes_where(F plan) const {
    if (recompute_) return *recompute_;
    const std::int64_t held = static_cast<std::int64_t>(step_.held_bytes() + recomputing_step_.held_bytes());
    const auto needed = static_cast<std::int64_t>(plan().total());
    if (needed <= held) return false;  // the usual case: no look at the device's free memory
    const std::int64_t free = device_.free_bytes();
    return free > 0 && needed > free + held;
  }
  bool recomputes(const StepInput<T, B>& batch) {
    return recomputes_where([&] { return step_.bytes(weights_, batch); });
  }
  bool recomputes(int tokens, int sequences, int patches) const {
    return recomputes_where([&] { return PlainStep::plan(weights_.parameters(), tokens, sequences, patches); });
  }

  static std::function<Choice(const TensorSpec&)> choose(const checkpoint::ModelSource& source,
                                                         const TrainableOptions& options) {
    std::set<std::string> adapted;
    if (options.method == TrainableOptions::Method::lora && source.trained.empty())
      adapted = lora_modules(linears(), options);
    return [&source, &options, adapted](const TensorSpec& spec) {
      const std::string name(spec.path.view());
      if (spec.adapter) {
        const std::string module = name.substr(0, name.rfind(".lora_"));
        if (const auto it = source.trained.find(module); it != source.trained.end())
          return Choice{DType::F32, it->second.rank, true};
        return Choice{DType::F32, adapted.contains(module) ? options.lora_rank : 0, true};
      }
      const DType stored = source.weights.at(name).dtype;
      const bool half = stored == DType::BF16 || stored == DType::F16;
      const DType kept = !std::is_same_v<B, Cpu> ? dtype_of<T> : half ? stored : DType::F32;
      return Choice{kept, 0,
                    options.method != TrainableOptions::Method::lora &&
                        is_trained(name, source.config.text_config.num_hidden_layers, options)};
    };
  }
  /// Linear layers that can be adapted, in the order in which PEFT visits them: deepstack mergers after the merger.
  static std::vector<std::string> linears() {
    std::vector<std::string> names;
    for_each_tensor<Model>([&](const TensorSpec& spec) {
      const std::string name(spec.path.view());
      if (spec.adapter && name.ends_with(".lora_A.weight")) names.push_back(name.substr(0, name.rfind(".lora_")));
    });
    const auto place = [](const std::string& n) {
      return n.starts_with("model.visual.deepstack") ? 1 : n.starts_with("model.visual.") ? 0 : 2;
    };
    std::stable_sort(names.begin(), names.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
    return names;
  }

  void start_adapters(const checkpoint::ModelSource& source, const TrainableOptions& options) {
    TorchGenerator generator(options.seed);
    const double root = options.use_rslora ? std::sqrt(options.lora_rank) : options.lora_rank;
    const auto fresh_scale = static_cast<float>(options.lora_alpha / root);
    std::map<std::string, std::size_t> slot_of;
    for (std::size_t i = 0; i < weights_.slots().size(); ++i) slot_of[weights_.slots()[i].name()] = i;
    dropout_ = static_cast<float>(options.lora_dropout);
    for (const std::string& module : linears()) {
      const std::size_t a = slot_of.at(module + ".lora_A.weight"), b = slot_of.at(module + ".lora_B.weight");
      const TensorSlot &slot_a = weights_.slots()[a], &slot_b = weights_.slots()[b];
      if (slot_a.spec.count() == 0) continue;
      Parameter &pa = weights_.parameters()[a], &pb = weights_.parameters()[b];
      pa.dropout = dropout_;
      pb.scale = fresh_scale;
      const auto it = source.trained.find(module);
      if (it == source.trained.end()) {
        std::vector<float> drawn(static_cast<std::size_t>(slot_a.spec.count()));
        draw_lora_a(generator, slot_a.spec.cols(), slot_b.spec.rows(), slot_a.spec.rows(), drawn);
        set(slot_a, drawn);
        continue;
      }
      pb.scale = it->second.scale;
      if (it->second.a.size() != weights_.values(slot_a).size() ||
          it->second.b.size() != weights_.values(slot_b).size())
        fail("adapter_name_or_path: ", module,
             " has adapter matrices for another width than the model's: was it made for another size?");
      set(slot_a, it->second.a);
      set(slot_b, it->second.b);
    }
    for (const auto& [module, layer] : source.trained)
      if (!slot_of.contains(module + ".lora_A.weight"))
        fail("adapter_name_or_path: the adapter has ", module,
             ", which is no linear layer of this model that can be adapted");
  }

  void set(const TensorSlot& slot, const std::vector<float>& values) {
    weights_.fill(slot, [&](std::span<std::byte> to) { std::memcpy(to.data(), values.data(), to.size()); });
  }

  /// The next batch's dropout: a function of seed and step alone, so that a resumed run drops the same elements. Never
  /// 0, which means none.
  std::uint64_t dropout_seed() const {
    const std::uint64_t n = static_cast<std::uint64_t>(optimizer_.steps) << 16;
    return ((seed_ + 1) * 0x9E3779B97F4A7C15ull + n * 0xBF58476D1CE4E5B9ull) | 1;
  }

  int image_token_;
  std::uint64_t seed_;
  std::optional<bool> recompute_;
  float dropout_ = 0;
  Device<B> device_;
  std::int64_t free_at_start_ = device_.free_bytes();
  Weights<Model, T, B> weights_;
  Optimizer<B> optimizer_;
  HostState<B> state_;
  struct Prepared {
    StepBatch<Model, T, B> input;
    bool recomputes = false, ready = false;
  };
  std::array<Prepared, Optimizer<B>::most_under_way> prepared_;  // in turn
  std::size_t started_ = 0, finished_ = 0;                       // steps
  PlainStep step_{device_};
  RecomputingStep recomputing_step_{device_};
};

}  // namespace lamina::train
