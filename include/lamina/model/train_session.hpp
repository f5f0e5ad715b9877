#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/objective/objective.hpp>
#include <lamina/core/optimizer.hpp>
#include <lamina/core/quantization/format.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/parallel/group.hpp>

/// The seam between programs and the training of a model: programs (YAML, JSON) see this header alone;
/// train/step/session.hpp implements it for each composition that is compiled in.
namespace lamina {

/// Something that an objective measures besides the loss: its value is sum / weight, over as many batches as one likes.
struct Metric {
  std::string_view name;  ///< as the log has it: "rewards/chosen"
  double sum = 0, weight = 0;
};

struct BatchLoss {
  double loss = 0;                      ///< sum over labels of loss_weights * nll, or what the objective has instead
  std::vector<double> sequence_losses;  ///< the same sum, one a sequence: names the sample when a value is not finite
  std::vector<Metric> metrics;          ///< the same names in every batch of a run
};

struct StepResult {
  BatchLoss loss;            ///< of this rank's share of the step
  double gradient_norm = 0;  ///< L2, over all trainable gradients, summed over ranks, before clipping
};

/// What the optimizer remembers of a tensor under one name, in the session's own memory.
struct TensorState {
  std::string_view name;  ///< "exp_avg"
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
  std::span<std::byte> bytes;
};

/// A trainable tensor in fp32 with its optimizer state, in the session's own memory: read it to save; write it and call
/// TrainSession::restored() to resume.
struct TrainableTensor {
  std::string name;  ///< as in the checkpoint: "...q_proj.weight", or PEFT's "base_model.model....lora_A.weight"
  std::vector<std::int64_t> shape;
  std::span<float> value;
  std::vector<TensorState> state;
  bool decays = true;          ///< biases and norms are exempt from weight decay, not the vectors of adapters
  std::string copied_as = {};  ///< under which an adapter's file has it as well: a head that is tied to it; "": none
};

/// Bytes of the frozen weights that are stored in one way.
struct StoredWeights {
  std::string as;  ///< "BF16", "nf4, double quantised"
  std::int64_t bytes = 0;
};

/// Bytes that a rank needs, known before anything is allocated.
struct MemoryPlan {
  std::int64_t weights = 0, trainable = 0, gradients = 0, optimizer = 0, saved = 0, workspace = 0, kv_cache = 0;
  /// Bytes by which `gradients` is less than all of them, if ranks are to divide them. 0: they stay whole, since
  /// parts and the room for backward would take as much.
  std::optional<std::int64_t> gradients_left_out;
  std::int64_t free = 0;              ///< on the device, for all of these; 0: not known
  std::int64_t in_use = 0;            ///< of a GPU before any of these: by its driver and by other programs
  std::vector<StoredWeights> stored;  ///< how the weights are
  std::int64_t total() const { return weights + trainable + gradients + optimizer + saved + workspace + kv_cache; }
};

class TrainSession {
 public:
  virtual ~TrainSession() = default;
  /// One optimizer step on a batch: gradients, clipping to max_gradient_norm (0: none), update. Where loss or norm is
  /// not finite, weights and optimizer stay as they were.
  StepResult step(const Batch& batch, const OptimizerSettings& settings, double max_gradient_norm) {
    prepare(batch);
    start(settings, max_gradient_norm);
    return finish();
  }
  /// The same in three parts, so that a GPU never waits for the host: while it works on one step, the next one's batch
  /// is prepared and the step started. Two steps at most are under way; all else here asks for none. A step that is not
  /// finite leaves such gradients that the one started after it changes nothing either. A batch lives until its step
  /// has finished.
  virtual void prepare(const Batch&) = 0;
  /// Begins a step on the batch that was prepared last; may return while the work is under way.
  virtual void start(const OptimizerSettings&, double max_gradient_norm) = 0;
  /// Waits for the step that was started first and is not finished.
  virtual StepResult finish() = 0;
  virtual BatchLoss evaluate(const Batch&) = 0;
  /// The state as it is now; valid until the next step. Of an optimizer that ranks share, this rank's part alone is
  /// right, unless gather_state() has been called.
  virtual std::vector<TrainableTensor> trainable() = 0;
  /// Every rank calls it before the first one saves: that one's trainable() has everything until the next step.
  virtual void gather_state() {}
  /// A hash of the trained weights' bits, the same on every rank as long as they hold the same model.
  virtual std::uint64_t weights_hash() = 0;
  /// Takes over what was written to the spans of trainable().
  virtual void restored() {}
  /// Optimizer steps done, which bias correction depends on; set on resume.
  virtual std::int64_t optimizer_steps() const = 0;
  virtual void set_optimizer_steps(std::int64_t) = 0;
  virtual std::int64_t param_count() const = 0;
  virtual std::int64_t trainable_count() const = 0;
  virtual MemoryPlan plan(int tokens, int sequences, int patches) const = 0;
  /// The plan of a step in text: each module with its parameters, costs and kernels (fuse/describe.hpp).
  virtual std::string describe() const = 0;
  /// Whether a GPU computes, so that the cores are free for other work.
  virtual bool on_device() const { return false; }
  /// Bytes of memory in use now: of the host by this process, of a GPU by all of them; 0: not known.
  virtual std::int64_t memory_bytes() const { return 0; }
};

struct ModelSource;

/// What is trainable, as the YAML of LLaMA-Factory says it.
struct TrainableOptions {
  enum class Method { lora, full, freeze } method = Method::lora;
  int lora_rank = 8;
  double lora_alpha = 16, lora_dropout = 0;
  bool use_rslora = false, use_dora = false;
  std::vector<std::string> lora_target = {"all"};
  std::vector<std::string> additional_target;  ///< method lora: modules that are trained whole
  bool freeze_vision_tower = true, freeze_multi_modal_projector = true, freeze_language_model = false;
  int freeze_trainable_layers = 2;  ///< method freeze: the last n decoder layers, negative: the first n
  /// Method freeze: the parts of those layers that are trained ("all", or such as "mlp"), and modules outside of
  /// layers.
  std::vector<std::string> freeze_trainable_modules = {"all"}, freeze_extra_modules;
  float lora_b_rate = 1;  ///< LoRA+: the learning rate of each lora_B, and DoRA's m, over that of its lora_A
  /// Learning rates over the run's own: of the vision tower, the projector and the language model.
  float tower_rate = 1, projector_rate = 1, language_rate = 1;
  Objective objective;
  bool measures_accuracy = false;  ///< evaluations of a TokenLoss count labels that are the likeliest token
  OptimizerKind optimizer = OptimizerKind::adamw;
  bool pure_bf16 = false;           ///< methods full and freeze: what learns, and the optimizer's state, are bf16 alone
  float auxiliary_coefficient = 0;  ///< of the loss that layers declare (core/objective/auxiliary.hpp)
  float noise_alpha = 0;            ///< NEFTune: of noise on embeddings in training steps
  /// Gradient checkpointing of decoder layers; unset: if their activations would not fit.
  std::optional<bool> recompute;
  Quantization quantization;    ///< method lora: of the decoder's matrices (frozen_storage())
  std::string device = "auto";  ///< cpu, cuda, or auto: the GPU if there is one
  bool deterministic = false;   ///< kernels that repeat bit for bit alone; on the CPU all do
  std::uint64_t seed = 42;      ///< of the adapter's initial values and of dropout
  /// Adapters to start from, in PEFT's layout: all but the last are merged, the last goes on training.
  std::vector<std::filesystem::path> adapters;
  /// Gives a fresh adapter its first values, in ModelSource::trained; unset: PEFT's, drawn from the seed.
  std::function<void(ModelSource&, const TrainableOptions&)> first_values;
  bool create_new_adapter = false;  ///< merge them all and start a fresh one
  bool goes_on() const { return !adapters.empty() && !create_new_adapter; }
  parallel::Group* group = &parallel::alone();  ///< whose gradients are summed in each step; outlives the session
  bool shards_optimizer = false;                ///< full and freeze: each rank keeps a part of the optimizer's state
  bool shards_gradients = false;                ///< and of the gradients' sums, if that takes less memory
};

}  // namespace lamina
