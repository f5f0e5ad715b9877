#pragma once
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include <lamina/hub/options.hpp>
#include <lamina/io/keys/setting.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/train/arguments/quantization.hpp>
#include <lamina/train/loop/schedule.hpp>
#include <lamina/train/predict/answers.hpp>

namespace lamina::train {

/// When something happens during training.
enum class Interval { no, steps, epoch, best };

/// Settings of SwanLab. Empty: SwanLab chooses.
struct SwanlabOptions {
  std::string project = "llamafactory", workspace, run_name, mode = "cloud", api_key;
  std::filesystem::path logdir;
};

/// What the metrics of an evaluation begin with: eval_NAME for a data set by itself, eval for all rows (name "").
inline std::string eval_prefix(const std::string& dataset) { return dataset.empty() ? "eval" : "eval_" + dataset; }

/// The honoured keys, typed, with LLaMA-Factory's defaults and names. No Boost.Hana structure: its macro takes 40
/// members and no defaults, and to adapt the structure afterwards would spell each name once more.
struct Arguments {
  std::filesystem::path model_name_or_path;
  std::string model_name;  ///< as the user gave it, if model_name_or_path became the folder of what a hub holds
  std::vector<std::filesystem::path> adapter_name_or_path;
  std::filesystem::path adapter_folder;  ///< inside each of them
  hub::Options hub;
  std::optional<bool> disable_gradient_checkpointing;  ///< unset: the memory plan decides
  bool print_param_status = false;
  std::vector<std::string> add_tokens, add_special_tokens;
  std::filesystem::path new_special_tokens_config;  ///< a YAML file of tokens and descriptions
  bool resize_vocab = false;                        ///< train embedding and head next to adapters
  std::int64_t image_max_pixels = 768 * 768, image_min_pixels = 32 * 32;
  std::int64_t video_max_pixels = 256 * 256, video_min_pixels = 16 * 16;  ///< of a frame
  double video_fps = 2;
  std::int64_t video_maxlen = 128;

  std::string template_name;
  std::vector<std::string> dataset, eval_dataset;
  std::filesystem::path dataset_dir = "data", media_dir;
  int cutoff_len = 2048;
  bool train_on_prompt = false, mask_history = false;
  std::optional<std::int64_t> max_samples;
  double val_size = 0;
  bool eval_on_each_dataset = false;
  std::string mix_strategy = "concat";
  std::vector<double> interleave_probs;
  bool streaming = false;
  std::filesystem::path tokenized_path;
  std::int64_t buffer_size = 16384;
  std::int64_t preprocessing_batch_size = 1000;
  std::optional<std::int64_t> preprocessing_num_workers;  ///< unset: 1
  std::optional<bool> packing;                            ///< unset: for stage: pt
  bool neat_packing = false;                              ///< implies packing
  bool skip_bad_samples = false;
  std::optional<std::string> default_system;
  std::optional<bool> enable_thinking = true;  ///< null is its own value: neither on nor off
  bool preserve_thinking = false;

  std::string stage = "sft";  ///< or pt, dpo, kto
  PreferenceLoss preference;  ///< of stages dpo and kto
  std::string finetuning_type = "lora";
  int lora_rank = 8;
  std::optional<double> lora_alpha;  ///< unset: 2 * lora_rank
  double lora_dropout = 0;
  std::vector<std::string> lora_target = {"all"};
  std::vector<std::string> additional_target;  ///< modules that are trained whole next to the adapters
  bool use_rslora = false, use_dora = false, create_new_adapter = false;
  bool pissa_init = false, pissa_convert = false;
  int pissa_iter = 16;  ///< -1: the whole decomposition
  bool freeze_vision_tower = true, freeze_multi_modal_projector = true, freeze_language_model = false;
  QuantizationOptions quantization;
  int freeze_trainable_layers = 2;
  std::vector<std::string> freeze_trainable_modules = {"all"}, freeze_extra_modules;
  std::optional<double> loraplus_lr_ratio;  ///< of each lora_B's learning rate, and that of DoRA's m, over lora_A's
  std::optional<double> vision_tower_lr, multi_modal_projector_lr, language_model_lr;  ///< unset: learning_rate
  bool use_dft_loss = false;
  double label_smoothing_factor = 0;
  bool compute_accuracy = false;
  double neftune_noise_alpha = 0;  ///< 0: no noise
  double moe_aux_loss_coef = 0;    ///< 0: routers have no loss
  bool plot_loss = false, disable_shuffling = false, include_effective_tokens_per_second = false;
  std::optional<std::int64_t> early_stopping_steps;

  std::filesystem::path output_dir;
  std::filesystem::path logging_dir;  ///< of TensorBoard; "": below output_dir
  std::vector<std::string> report_to = {"none"};
  std::string run_name, project = "huggingface";  ///< of trackers
  bool use_swanlab = false;                       ///< the same as swanlab in report_to
  SwanlabOptions swanlab;
  bool overwrite_output_dir = false, do_train = false, do_eval = false, do_predict = false;
  bool predict_with_generate = false;
  AnswerOptions answers;                   ///< of predict_with_generate
  std::filesystem::path jieba_dictionary;  ///< for ROUGE of Chinese; empty: text/jieba.hpp looks for an installed one
  int per_device_train_batch_size = 8, per_device_eval_batch_size = 8, gradient_accumulation_steps = 1;
  double num_train_epochs = 3;
  std::int64_t max_steps = -1;
  ScheduleOptions schedule;                             ///< type, warm-up and kwargs of the learning rate
  OptimizerKind optimizer_kind = OptimizerKind::adamw;  ///< optim, or of use_muon
  bool use_muon = false;
  OptimizerSettings optimizer;  ///< learning_rate is the base rate
  std::string optim_args;       ///< of sgd: "momentum=0.9,nesterov=true"
  bool pure_bf16 = false;
  double max_grad_norm = 1.0;  ///< 0: no clipping
  std::uint64_t seed = 42;
  std::optional<std::uint64_t> data_seed;
  Interval logging_strategy = Interval::steps, save_strategy = Interval::steps, eval_strategy = Interval::no;
  double logging_steps = 500, save_steps = 500;  ///< below 1: a fraction of all steps
  std::optional<double> eval_steps;              ///< unset: logging_steps
  double eval_delay = 0;
  bool logging_first_step = false, eval_on_start = false, include_num_input_tokens_seen = false;
  std::optional<std::int64_t> save_total_limit;
  bool save_only_model = false, load_best_model_at_end = false;
  std::string metric_for_best_model = "loss";
  bool greater_is_better = false;
  std::optional<std::string> resume_from_checkpoint;  ///< a path, or "true": the newest of output_dir
  bool ignore_data_skip = false;
  int dataloader_num_workers = 0;
  bool dataloader_drop_last = false;
  std::string train_sampling_strategy = "random";
  std::string device = "auto";      ///< auto, cpu or cuda
  bool full_determinism = false;    ///< on a GPU; otherwise runs need not repeat bit for bit there
  bool shards_optimizer = false;    ///< of full and freeze: processes share out its state (deepspeed, fsdp)
  bool shards_gradients = false;    ///< and the gradients
  std::int64_t ddp_timeout = 1800;  ///< seconds that one process may keep the others waiting
  std::optional<bool> disable_tqdm;

  io::Settings given;              ///< everything that was set, as it was written
  std::vector<std::string> notes;  ///< one line for each key that was accepted without effect

  /// Whether rows come in their order in every epoch.
  bool keeps_order() const { return disable_shuffling || train_sampling_strategy == "sequential"; }
  bool learns_preferences() const { return stage == "dpo" || stage == "kto"; }
  bool packs() const { return packing.value_or(stage == "pt") || neat_packing; }
  bool groups_by_length() const { return !disable_shuffling && train_sampling_strategy == "group_by_length"; }
  /// The metrics that evaluations report.
  std::vector<std::string> eval_metrics() const {
    std::vector<std::string> names;
    const auto add = [&](const std::string& prefix) {
      names.push_back(prefix + "_loss");
      if (compute_accuracy) names.push_back(prefix + "_accuracy");
    };
    if (!eval_on_each_dataset || eval_dataset.empty())
      add(eval_prefix(""));
    else
      for (const std::string& name : eval_dataset) add(eval_prefix(name));
    return names;
  }
  /// The metric that decides which checkpoint is best, by its whole name: metric_for_best_model may leave out eval_.
  std::string best_metric() const {
    return metric_for_best_model.starts_with("eval_") ? metric_for_best_model : "eval_" + metric_for_best_model;
  }
  /// Whether evaluations are compared by it.
  bool seeks_best() const {
    return load_best_model_at_end || save_strategy == Interval::best || given.contains("metric_for_best_model");
  }
  /// Whether answers are drawn after training.
  bool generates() const { return do_predict || (do_eval && predict_with_generate); }
  /// Whether the loss over evaluation rows is wanted: during training, or after it.
  bool evaluates_loss() const {
    return (do_eval && !predict_with_generate) || (do_train && (eval_strategy != Interval::no || eval_on_start));
  }
};

/// What the stage minimises.
inline Objective objective_of(const Arguments& a) {
  if (!a.learns_preferences())
    return TokenLoss{.smoothing = static_cast<float>(a.label_smoothing_factor), .by_probability = a.use_dft_loss};
  PreferenceLoss loss = a.preference;
  if (a.stage == "kto") loss.kind = PreferenceLoss::Kind::kto;
  return loss;
}

/// What of the model is trainable, for open_for_training.
inline TrainableOptions trainable_options(const Arguments& a) {
  TrainableOptions options;
  using Method = TrainableOptions::Method;
  options.method = a.finetuning_type == "lora"   ? Method::lora
                   : a.finetuning_type == "full" ? Method::full
                                                 : Method::freeze;
  options.lora_rank = a.lora_rank;
  options.lora_alpha = a.lora_alpha.value_or(2.0 * a.lora_rank);
  options.lora_dropout = a.lora_dropout;
  options.use_rslora = a.use_rslora;
  options.use_dora = a.use_dora;
  options.lora_target = a.lora_target;
  options.additional_target = a.additional_target;
  options.freeze_vision_tower = a.freeze_vision_tower;
  options.freeze_multi_modal_projector = a.freeze_multi_modal_projector;
  options.freeze_language_model = a.freeze_language_model;
  options.freeze_trainable_layers = a.freeze_trainable_layers;
  options.freeze_trainable_modules = a.freeze_trainable_modules;
  options.freeze_extra_modules = a.freeze_extra_modules;
  options.lora_b_rate = static_cast<float>(a.loraplus_lr_ratio.value_or(1));
  const auto over_own = [&](const std::optional<double>& rate) {
    return static_cast<float>(rate ? *rate / a.optimizer.learning_rate : 1);
  };
  options.tower_rate = over_own(a.vision_tower_lr);
  options.projector_rate = over_own(a.multi_modal_projector_lr);
  options.language_rate = over_own(a.language_model_lr);
  options.objective = objective_of(a);
  options.measures_accuracy = a.compute_accuracy;
  options.optimizer = a.optimizer_kind;
  options.pure_bf16 = a.pure_bf16;
  options.auxiliary_coefficient = static_cast<float>(a.moe_aux_loss_coef);
  options.noise_alpha = static_cast<float>(a.neftune_noise_alpha);
  if (a.disable_gradient_checkpointing) options.recompute = !*a.disable_gradient_checkpointing;
  options.quantization = a.quantization.format();
  options.device = a.device;
  options.deterministic = a.full_determinism;
  options.seed = a.seed;
  options.adapters = a.adapter_name_or_path;
  options.create_new_adapter = a.create_new_adapter;
  options.shards_optimizer = a.shards_optimizer;
  options.shards_gradients = a.shards_gradients;
  return options;
}

/// The steps of a run on so many rows, which ranks share.
inline StepCounts count_steps(const Arguments& a, std::int64_t rows, int ranks) {
  return count_steps(rows, a.per_device_train_batch_size * ranks, a.gradient_accumulation_steps, a.num_train_epochs,
                     a.max_steps, a.dataloader_drop_last);
}

/// The base model for people and for other programs: the user's own word for it.
inline std::string named_model(const Arguments& a) {
  return a.model_name.empty() ? a.model_name_or_path.string() : a.model_name;
}

}  // namespace lamina::train
