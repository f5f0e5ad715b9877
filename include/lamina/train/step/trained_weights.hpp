#pragma once
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <lamina/checkpoint/adapter/peft_names.hpp>
#include <lamina/compose/wrap/lora_init.hpp>
#include <lamina/core/log.hpp>
#include <lamina/kernel/device.hpp>
#include <lamina/kernel/matmul/magnitude.hpp>
#include <lamina/model/model_source.hpp>
#include <lamina/parallel/gpu/device_group.hpp>
#include <lamina/train/step/gradients/scatter.hpp>
#include <lamina/train/step/gradients/sum.hpp>
#include <lamina/train/step/host_state.hpp>
#include <lamina/train/step/optimizer.hpp>
#include <lamina/train/step/trainable.hpp>

namespace lamina::train {

/// What a TrainSession holds whatever the model computes, compiled once for all models of a translation unit: weights
/// and their optimizer, started as the options say, and what a checkpoint reads and writes of them.
template <Real T, Backend B>
class TrainedWeights : public TrainSession {
 public:
  std::vector<TrainableTensor> trainable() override {
    state_.read(weights_, optimizer_, device_.stream());
    std::vector<TrainableTensor> tensors;
    std::vector<std::size_t> tensor_of(weights_.slots().size());
    for (std::size_t i = 0; i < weights_.slots().size(); ++i) {
      const TensorSlot& slot = weights_.slots()[i];
      const auto count = static_cast<std::size_t>(slot.spec.count());
      if (!slot.learns || count == 0) continue;
      tensor_of[i] = tensors.size();
      tensors.push_back({std::string(in_adapter_ ? checkpoint::peft_prefix : "") + slot.name(),
                         shape_of(slot.spec),
                         state_.values().subspan(slot.offset, count),
                         {},
                         slot.decays(),
                         slot.name() == table_of_head_ ? head_copy_ : ""});
    }
    for (std::size_t i = 0; i < optimizer_.parts().size(); ++i) {
      const StatePart& part = optimizer_.parts()[i];
      const std::size_t each = size_bytes(part.dtype);
      for (const StatePart::Place& place : part.places)
        tensors[tensor_of[place.slot]].state.push_back(
            {part.name, part.dtype, place.shape, state_.state(i).subspan(place.first * each, place.count() * each)});
    }
    return tensors;
  }
  void gather_state() override {
    if (shares_optimizer_) state_.gather(weights_, optimizer_, group_, device_.stream());
  }
  std::uint64_t weights_hash() override {
    const bool copies =
        (shares_optimizer_ && TensorMemory<T, B>::has_copy) || weights_.is_kept_as_copy();  // fp32 values are elsewhere
    const auto bytes = copies ? std::as_bytes(weights_.copy()) : std::as_bytes(weights_.values());
    constexpr std::size_t piece = std::size_t{16} << 20;
    std::vector<std::byte> here(std::min(piece, bytes.size()));
    std::uint64_t hash = 14695981039346656037u;  // FNV-1a
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      const auto part = bytes.subspan(at, std::min(piece, bytes.size() - at));
      Memory<B>::download(device_.stream(), here.data(), part.data(), part.size());
      for (std::size_t i = 0; i < part.size(); ++i)
        hash = (hash ^ std::to_integer<std::uint64_t>(here[i])) * 1099511628211u;
    }
    return hash;
  }
  bool on_device() const override { return Memory<B>::remote; }
  void restored() override { state_.write(weights_, optimizer_, device_.stream()); }
  std::int64_t optimizer_steps() const override { return optimizer_.steps; }
  std::int64_t param_count() const override { return weights_.param_count(); }
  std::int64_t trainable_count() const override { return static_cast<std::int64_t>(weights_.learning_count()); }

 protected:
  /// tensors: the model's, in its order.
  /// order: that in which the backward of a model with these parameters completes gradients.
  TrainedWeights(const std::vector<TensorSpec>& tensors, const ModelSource& source, const TrainableOptions& options,
                 GradientOrder (*order)(const Parameter*))
      : seed_(options.seed),
        rank_(static_cast<std::uint64_t>(options.group->rank())),
        device_(options.group->place().local_rank),
        linears_(linears_of(tensors, source.config.family->regions)),
        in_adapter_(options.method == TrainableOptions::Method::lora),
        head_copy_(cat(checkpoint::peft_prefix, source.config.family->regions.head, ".weight")),
        weights_(tensors, choose(tensors, source, options)),
        group_(*options.group),
        shares_optimizer_(shares_optimizer(options)),
        optimizer_(own_share(), options.optimizer, is_pure_bf16(options) ? std::optional(options.seed) : std::nullopt) {
    device_.set_deterministic(options.deterministic);
    const std::string missing = missing_projector(tensors, source.config.family->regions, options);
    if (weights_.learning_count() == 0)
      fail("nothing is left to train: finetuning_type and the freeze_* keys freeze every tensor",
           missing.empty() ? "" : cat("; ", missing));
    if (!missing.empty()) note(missing);
    const auto is_here = [&](const std::string& name) {
      return std::any_of(tensors.begin(), tensors.end(), [&](const TensorSpec& t) { return t.path.view() == name; });
    };
    const Regions& regions = source.config.family->regions;
    if (in_adapter_ && !is_here(cat(regions.head, ".weight"))) table_of_head_ = cat(regions.embedding, ".weight");
    require_whole_joints();
    require_reference(options);
    if (is_pure_bf16(options))
      weights_.keep_as_copy();
    else
      weights_.keep(optimizer_.share());
    const std::optional<DividedGradients> divided = divide(options, order);
    expect_room(options);
    weights_.allocate(true, device_.stream());
    checkpoint::load_weights(weights_, source.weights, source.folded, 0, source.quantized);
    if (is_pure_bf16(options)) round_values();
    start_adapters(source, options);
    leave_adapters_out();
    optimizer_.allocate(weights_, device_.stream());
    if (divided)
      gradient_scatter_.emplace(group_, weights_, *divided);
    else
      gradient_sum_.emplace(group_, weights_,
                            GradientSum<B>::pays_during_backward(options.group->place(), weights_.learning_count()));
  }
  /// How frozen weights are stored.
  std::vector<StoredWeights> stored() const {
    std::vector<StoredWeights> stored;
    for (const TensorSlot& slot : weights_.slots()) {
      if (slot.learns || slot.spec.count() == 0) continue;
      const std::string as = slot.quantization ? name_of(slot.quantization) : std::string(name_of(slot.dtype));
      auto at = std::find_if(stored.begin(), stored.end(), [&](const StoredWeights& s) { return s.as == as; });
      if (at == stored.end()) at = stored.insert(at, {as, 0});
      at->bytes += static_cast<std::int64_t>(weights_.bytes_of(slot));
    }
    return stored;
  }
  Device<B>& device() { return device_; }
  const Device<B>& device() const { return device_; }
  std::int64_t free_at_start() const { return free_at_start_; }
  std::int64_t in_use_at_start() const { return Device<B>::has_memory ? device_.total_bytes() - free_at_start_ : 0; }
  TensorMemory<T, B>& weights() { return weights_; }
  const TensorMemory<T, B>& weights() const { return weights_; }
  /// The parameters without their adapters: the model that the run began with.
  const Parameter* reference() const { return reference_.data(); }
  Optimizer<B>& optimizer() { return optimizer_; }
  const Optimizer<B>& optimizer() const { return optimizer_; }
  /// Hears of steps; null: nobody does.
  GradientListener* gradient_watch() { return gradient_scatter_ ? gradient_scatter_->watch() : gradient_sum_->watch(); }
  /// Whether each rank has the sums of its share of the gradients alone, and steps cannot be recorded.
  bool divides_gradients() const { return gradient_scatter_.has_value(); }
  /// MemoryPlan's.
  std::optional<std::int64_t> gradients_left_out() const {
    if (!asks_to_divide_) return std::nullopt;
    return static_cast<std::int64_t>((weights_.learning_count() - weights_.gradient_count()) * sizeof(float));
  }
  /// The end of a step: gradients become the sum of those of all ranks, and the optimizer updates the weights.
  void update(const OptimizerSettings& settings, double max_gradient_norm, Stream<B> stream) {
    state_.forget();
    if (gradient_scatter_) {
      const std::span<float> own = gradient_scatter_->run(stream);
      optimizer_.step(weights_, own, settings, max_gradient_norm, group_, stream);
    } else {
      gradient_sum_->run(stream);
      optimizer_.step(weights_, settings, max_gradient_norm, stream);
    }
    if (shares_optimizer_) optimizer_.exchange(weights_, group_, stream);
  }
  /// Of the next batch's dropout and noise, another on each rank: a function of seed and step alone, so that a resumed
  /// run draws the same. 0: none.
  std::uint64_t dropout_seed() const {
    if (!draws_) return 0;
    const std::uint64_t n = (static_cast<std::uint64_t>(optimizer_.steps) << 16) + rank_;
    return ((seed_ + 1) * 0x9E3779B97F4A7C15ull + n * 0xBF58476D1CE4E5B9ull) | 1;
  }

 private:
  /// Adapters stay fp32, as PEFT keeps them.
  static bool is_pure_bf16(const TrainableOptions& options) {
    return options.pure_bf16 && options.method != TrainableOptions::Method::lora;
  }
  /// Where values stay fp32, they become ones that bf16 holds too.
  void round_values() {
    for (const TensorSlot& slot : weights_.slots())
      if (slot.learns && slot.spec.fp32) fail("pure_bf16: ", slot.name(), " is read in fp32: set it to false");
    if constexpr (!TensorMemory<T, B>::has_copy)
      for (float& value : weights_.values()) value = to_f32(round_to<bf16>(value));
  }
  /// Whether ranks share the optimizer's work. The values of adapters are few: every rank updates all of them.
  static bool shares_optimizer(const TrainableOptions& options) {
    return options.shards_optimizer && options.group->size() > 1 && options.method != TrainableOptions::Method::lora;
  }
  parallel::Share own_share() const {
    const std::size_t count = weights_.learning_count();
    return shares_optimizer_ ? parallel::share_of(count, group_.rank(), group_.size()) : parallel::Share{0, count};
  }
  /// Lays the gradients' memory out so that this rank keeps a share of them, if that is asked for and takes less.
  std::optional<DividedGradients> divide(const TrainableOptions& options, GradientOrder (*order)(const Parameter*)) {
    asks_to_divide_ = shares_optimizer_ && options.shards_gradients;
    if (!asks_to_divide_) return std::nullopt;
    return divide_gradients_of(weights_, optimizer_.share().count, order);
  }
  /// Error if the weights and the numbers that train them are more than is free.
  void expect_room(const TrainableOptions& options) const {
    const std::int64_t free = device_.free_bytes();
    const auto learning = static_cast<std::int64_t>(weights_.learning_bytes(true) + optimizer_.bytes(weights_));
    const std::int64_t needed = learning + static_cast<std::int64_t>(weights_.frozen_bytes());
    if (free == 0 || needed <= free) return;
    const auto gib = [](std::int64_t bytes) { return cat(static_cast<double>(bytes >> 20) / 1024, " GiB"); };
    const bool lora = options.method == TrainableOptions::Method::lora;
    fail(lora ? cat("lora_rank ", options.lora_rank, ": ") : "", "the model needs ", gib(needed), " (", gib(learning),
         " for trained weights, their gradients and the optimizer), ", gib(free),
         " are free: ", lora ? "lower lora_rank" : "train fewer layers (finetuning_type: lora or freeze)",
         !lora && options.group->size() > 1 && !options.shards_gradients
             ? ", or share the optimizer and the gradients (deepspeed, fsdp)"
             : "");
  }
  std::function<TensorChoice(const TensorSpec&)> choose(const std::vector<TensorSpec>& tensors,
                                                        const ModelSource& source, const TrainableOptions& options) {
    std::set<std::string> adapted, whole;
    if (options.method == TrainableOptions::Method::freeze)
      require_freeze_modules(tensor_names(source.weights), options);
    if (options.method == TrainableOptions::Method::lora && source.trained.empty())
      adapted = lora_modules(linears_, checkpoint::modules_of(source.weights), source.config.family->regions, options,
                             mixture_modules(tensors));
    if (in_adapter_) whole = chosen_whole(tensors, adapted, source, options);
    return [&source, &options, adapted = std::move(adapted), whole = std::move(whole)](const TensorSpec& spec) {
      const std::string name(spec.path.view());
      const float rate = rate_of(region_of(name, source.config.family->regions), options);
      if (spec.added) {
        const std::string module = name.substr(0, name.rfind(".lora_"));
        const auto it = source.trained.find(module);
        const int r = it != source.trained.end() ? it->second.rank : adapted.contains(module) ? options.lora_rank : 0;
        return TensorChoice{DType::F32, r, true, name.ends_with(".lora_A.weight") ? rate : rate * options.lora_b_rate};
      }
      if (whole.contains(name)) return TensorChoice{.rate = spec.rank > 1 ? rate : rate * options.lora_b_rate};
      const DType kept = Device<B>::reads_any_weight ? source.dtype_of_values(name) : dtype_of<T>;
      if (options.method == TrainableOptions::Method::lora)
        return TensorChoice{.dtype = kept,
                            .learns = false,
                            .quantization = frozen_storage(spec, source, options.quantization, Device<B>::runs_ahead)};
      return TensorChoice{
          kept, 0,
          is_trained(name, source.config.text_config.num_hidden_layers, source.config.family->regions, options), rate};
    };
  }
  /// The tensors that are trained whole next to adapters: those that an adapter which goes on has, or as asked for.
  static std::set<std::string> chosen_whole(const std::vector<TensorSpec>& tensors, std::set<std::string> adapted,
                                            const ModelSource& source, const TrainableOptions& options) {
    for (const auto& [module, layer] : source.trained) adapted.insert(module);  // a fresh one may have its values
    std::set<std::string> whole;
    if (options.goes_on())
      for (const auto& [tensor, in_file] : source.trained.replaced) whole.insert(tensor);
    else
      whole = whole_tensors(tensors, adapted, source.config.family->regions, options);
    for (const std::string& name : whole)
      if (source.quantized.contains(name))
        fail("additional_target: ", name, " is quantised, and quantised weights cannot learn: leave it out");
    return whole;
  }
  /// Error if of the matrices that are multiplied together some learn and some do not.
  void require_whole_joints() const {
    const TensorSlot* before[] = {nullptr, nullptr};  // a vector, a matrix
    for (const TensorSlot& slot : weights_.slots()) {
      if (slot.spec.added) continue;
      const TensorSlot*& last = before[slot.spec.rank > 1];
      if (slot.spec.joined && last && last->learns != slot.learns)
        fail("additional_target: ", (slot.learns ? slot : *last).name(), " is computed together with ",
             (slot.learns ? *last : slot).name(), ": name all of them, or the module that holds them");
      last = &slot;
    }
  }
  /// Error if the objective compares with the model that the run began with, and that is not kept.
  void require_reference(const TrainableOptions& options) const {
    const auto* loss = std::get_if<PreferenceLoss>(&options.objective);
    if (!loss || !loss->has_reference() || !in_adapter_) return;
    for (const TensorSlot& slot : weights_.slots())
      if (slot.learns && !slot.spec.added)
        fail("adapter_name_or_path: the adapter trains ", slot.name(),
             " whole, and the reference is the base model: take pref_loss: orpo or simpo, or merge the adapter first");
  }
  static std::vector<std::string> tensor_names(const checkpoint::Checkpoint& weights) {
    std::vector<std::string> names;
    for (const checkpoint::TensorInfo& info : weights.tensors())
      names.push_back(checkpoint::canonical_name(info.name, weights.names()));
    return names;
  }
  /// Linear layers that can be adapted, in the order in which PEFT visits them.
  static std::vector<std::string> linears_of(std::span<const TensorSpec> tensors, const Regions& regions) {
    std::vector<std::string> names;
    for (const TensorSpec& spec : tensors) {
      const std::string name(spec.path.view());
      if (spec.added && name.ends_with(".lora_A.weight")) names.push_back(name.substr(0, name.rfind(".lora_")));
    }
    const auto place = [&](const std::string& name) { return visit_of(name, regions); };
    std::stable_sort(names.begin(), names.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
    return names;
  }

  void start_adapters(const ModelSource& source, const TrainableOptions& options) {
    TorchGenerator generator(options.seed);
    const double root = options.use_rslora ? std::sqrt(options.lora_rank) : options.lora_rank;
    const auto fresh_scale = static_cast<float>(options.lora_alpha / root);
    std::map<std::string, std::size_t> slot_of;
    for (std::size_t i = 0; i < weights_.slots().size(); ++i) slot_of[weights_.slots()[i].name()] = i;
    // An adapter that goes on training keeps its own settings, as in PEFT.
    dropout_ = static_cast<float>(source.trained.empty() ? options.lora_dropout : source.trained_dropout);
    if (std::holds_alternative<PreferenceLoss>(options.objective)) dropout_ = 0;  // answers are compared, not sampled
    draws_ = dropout_ > 0 || options.noise_alpha > 0;
    for (const std::string& module : linears_) {
      const std::size_t a = slot_of.at(module + ".lora_A.weight"), b = slot_of.at(module + ".lora_B.weight");
      const TensorSlot &slot_a = weights_.slots()[a], &slot_b = weights_.slots()[b];
      if (slot_a.spec.count() == 0) continue;
      weights_.parameters()[a].dropout = dropout_;
      weights_.parameters()[b].scale = fresh_scale;
      const auto m = slot_of.find(module + ".lora_magnitude_vector");
      if (const auto it = source.trained.find(module); it != source.trained.end()) {
        continue_adapter(module, it->second, a, b);
        if (m != slot_of.end()) set(weights_.slots()[m->second], it->second.magnitude);
        continue;
      }
      std::vector<float> drawn(static_cast<std::size_t>(slot_a.spec.count()));
      draw_lora_a(generator, slot_a.spec.cols(), slot_b.spec.rows(), slot_a.spec.rows(), drawn);
      set(slot_a, drawn);
      if (m != slot_of.end()) start_magnitudes(slot_of.at(module + ".weight"), a, b, m->second);
    }
    for (const auto& [module, layer] : source.trained)
      if (!slot_of.contains(module + ".lora_A.weight"))
        fail("adapter_name_or_path: the adapter has ", module,
             ", which is no linear layer of this model that can be adapted");
  }

  /// Gives a layer's A and B, the slots a and b, the values of an adapter that goes on training.
  void continue_adapter(const std::string& module, const checkpoint::AdapterLayer& layer, std::size_t a,
                        std::size_t b) {
    const TensorSlot &slot_a = weights_.slots()[a], &slot_b = weights_.slots()[b];
    weights_.parameters()[b].scale = layer.scale;
    if (layer.a.size() != weights_.values(slot_a).size() || layer.b.size() != weights_.values(slot_b).size())
      fail("adapter_name_or_path: ", module,
           " has adapter matrices for another width than the model's: was it made for another size?");
    set(slot_a, layer.a);
    set(slot_b, layer.b);
  }
  /// DoRA's m = |W + s B A|, of the slots' values.
  void start_magnitudes(std::size_t w, std::size_t a, std::size_t b, std::size_t m) {
    const Parameter* p = weights_.parameters();
    kernel::magnitude<B>::norms(device_.stream(),
                                kernel::RowNorms<T>{.w = p[w].value,
                                                    .a = p[a].value,
                                                    .b = p[b].value,
                                                    .scale = p[b].scale,
                                                    .norms = static_cast<float*>(weights_.data(weights_.slots()[m]))});
  }

  /// The same weights, in which adapters have rank 0.
  void leave_adapters_out() {
    const auto& slots = weights_.slots();
    reference_.assign(weights_.parameters(), weights_.parameters() + slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i)
      if (slots[i].spec.added) reference_[i].value.rows = reference_[i].value.cols = 0;
  }

  void set(const TensorSlot& slot, const std::vector<float>& values) {
    weights_.fill(slot, [&](std::span<std::byte> to) { std::memcpy(to.data(), values.data(), to.size()); });
  }

  std::uint64_t seed_, rank_;
  float dropout_ = 0;
  bool draws_ = false;
  Device<B> device_;
  std::int64_t free_at_start_ = device_.free_bytes();
  std::vector<std::string> linears_;
  bool in_adapter_;                        ///< what is trained is saved apart from the model
  std::string head_copy_, table_of_head_;  ///< of adapters: PEFT's name of a tied head, and the table's; "": not tied
  TensorMemory<T, B> weights_;
  std::vector<Parameter> reference_;
  parallel::DeviceGroup<B> group_;
  std::optional<GradientSum<B>> gradient_sum_;          ///< made once the gradients have their memory
  std::optional<GradientScatter<B>> gradient_scatter_;  ///< in its place, if ranks divide them
  bool shares_optimizer_, asks_to_divide_ = false;
  Optimizer<B> optimizer_;
  HostState<B> state_;
};

}  // namespace lamina::train
