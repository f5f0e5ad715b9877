#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/io/file.hpp>
#include <lamina/io/keys/key_values.hpp>
#include <lamina/io/nearest_word.hpp>
#include <lamina/model/families.hpp>
#include <lamina/train/arguments/key_name.hpp>

namespace lamina::train {

namespace detail {

/// "key (file.yaml line 12)": the subject of a message about an argument.
inline std::string where(const Arguments& a, KeyName name) {
  const std::string_view key = name;
  const io::Setting* setting = setting_of(a, name);
  return setting ? cat(setting->origin, ": ", key) : std::string(key);
}

/// A key that asks for something.
struct Asking {
  KeyName key;
  bool asks;
};

/// What a stage that is not built needs instead.
inline std::string_view instead_of_stage(const std::string& stage) {
  if (stage == "rm" || stage == "ppo") return "reward models are not built: take stage: dpo, which needs none";
  return "there are sft, pt, dpo and kto";
}

inline void validate_stage(const Arguments& a) {
  if (a.stage != "sft" && a.stage != "pt" && !a.learns_preferences())
    fail(where(a, "stage"), ": ", a.stage, " is not built, wanted sft, pt, dpo or kto: ", instead_of_stage(a.stage));
  for (const auto& [key, asks] :
       {Asking{"packing", a.packs()}, Asking{"train_on_prompt", a.train_on_prompt},
        Asking{"mask_history", a.mask_history}, Asking{"predict_with_generate", a.predict_with_generate},
        Asking{"use_dft_loss", a.use_dft_loss}, Asking{"moe_aux_loss_coef", a.moe_aux_loss_coef != 0},
        Asking{"label_smoothing_factor", a.label_smoothing_factor != 0}})
    if (asks && a.learns_preferences()) fail(where(a, key), " needs stage: sft, got ", a.stage);
  if (a.stage == "pt" && a.neat_packing) fail(where(a, "neat_packing"), " needs stage: sft");
  if (a.stage == "pt" && a.predict_with_generate) fail(where(a, "predict_with_generate"), " needs stage: sft");
}

inline void validate_preferences(const Arguments& a) {
  if (!a.learns_preferences()) return;
  const PreferenceLoss loss = std::get<PreferenceLoss>(objective_of(a));
  if (loss.label_smoothing > 0 && loss.kind != PreferenceLoss::Kind::sigmoid)
    fail(where(a, "dpo_label_smoothing"), " needs stage: dpo with pref_loss: sigmoid");
  if (loss.has_reference() && a.finetuning_type != "lora")
    fail(where(a, "finetuning_type"), ": ", a.finetuning_type, ": the reference is the base model without adapters: ",
         "take finetuning_type: lora, or stage: dpo with pref_loss: orpo or simpo, which have no reference");
  if (loss.has_reference() && a.pissa_init)
    fail(where(a, "pissa_init"), " changes the base model, which is the reference: set it to false");
  for (const KeyName key : {KeyName("add_tokens"), KeyName("add_special_tokens"), KeyName("new_special_tokens_config"),
                            KeyName("resize_vocab")})
    if (loss.has_reference() && setting_of(a, key))
      fail(where(a, key), " trains the embedding of the base model, which is the reference: add tokens in stage: sft ",
           "first, and merge that adapter");
  if (loss.has_reference() && !a.additional_target.empty())
    fail(where(a, "additional_target"), " changes weights of the base model, which is the reference: leave it out");
}

inline void validate_method(const Arguments& a) {
  if (a.model_name_or_path.empty()) fail("model_name_or_path is not set: give the directory of the base model");
  if (a.finetuning_type == "dora")
    fail(where(a, "finetuning_type"), ": dora is a kind of lora: take finetuning_type: lora and use_dora: true");
  if (a.finetuning_type != "lora" && a.finetuning_type != "full" && a.finetuning_type != "freeze")
    fail(where(a, "finetuning_type"), ": ", a.finetuning_type, " is not built, wanted lora, full or freeze");
  const bool lora = a.finetuning_type == "lora";
  if (!lora && !a.adapter_name_or_path.empty())
    fail(where(a, "adapter_name_or_path"), " needs finetuning_type: lora, got ", a.finetuning_type);
  for (const auto& [key, asks] : {Asking{"vision_tower_lr", a.vision_tower_lr.has_value()},
                                  Asking{"multi_modal_projector_lr", a.multi_modal_projector_lr.has_value()},
                                  Asking{"language_model_lr", a.language_model_lr.has_value()}})
    if (asks && a.optimizer.learning_rate == 0)
      fail(where(a, key), " follows the schedule of learning_rate, which is 0: give that a rate");
  for (const auto& [key, asks] : {Asking{"use_rslora", a.use_rslora}, Asking{"use_dora", a.use_dora},
                                  Asking{"additional_target", !a.additional_target.empty()}})
    if (!lora && asks) fail(where(a, key), " needs finetuning_type: lora, got ", a.finetuning_type);
  if (lora && a.lora_target.empty()) fail(where(a, "lora_target"), " is empty: name modules, or all");
  if (a.pissa_init && !lora) fail(where(a, "pissa_init"), " needs finetuning_type: lora, got ", a.finetuning_type);
  if (a.pissa_init && a.use_dora)
    fail(where(a, "pissa_init"),
         " is not combined with use_dora: an adapter of both cannot be converted to one for the "
         "base model; keep one");
  if (a.pissa_init && !a.adapter_name_or_path.empty())
    fail(where(a, "pissa_init"), " starts a fresh adapter on the base model: leave adapter_name_or_path out");
  if (a.pissa_init && !a.pissa_convert)
    fail(where(a, "pissa_init"), " needs pissa_convert: true: without it the adapter fits no model that is on disk");
  if (!lora && a.loraplus_lr_ratio)
    fail(where(a, "loraplus_lr_ratio"), " needs finetuning_type: lora, got ", a.finetuning_type);
  if (a.use_muon && a.loraplus_lr_ratio)
    fail(where(a, "use_muon"), " is not combined with loraplus_lr_ratio, which is for AdamW: keep one");
  if (!lora && a.shards_optimizer && !is_shareable(a.optimizer_kind))
    fail(a.use_muon ? where(a, "use_muon") : where(a, "optim"),
         ": processes cannot share out this optimizer's state (deepspeed, fsdp): take adamw_torch, ",
         "lion_32bit or sgd, or leave deepspeed and fsdp out");
  if (a.neftune_noise_alpha > 0 && a.learns_preferences())
    fail(where(a, "neftune_noise_alpha"), " needs stage: sft or pt: answers that are compared must have one embedding");
  if (a.compute_accuracy && a.stage != "sft") fail(where(a, "compute_accuracy"), " needs stage: sft, got ", a.stage);
  if (a.use_dft_loss && a.label_smoothing_factor > 0)
    fail(where(a, "use_dft_loss"), " cannot be combined with label_smoothing_factor: keep one");
  if (a.finetuning_type == "freeze" && a.freeze_trainable_layers == 0 && a.freeze_extra_modules.empty() &&
      a.freeze_multi_modal_projector)
    fail(where(a, "freeze_trainable_layers"), " is 0: nothing would be trained");
  if (a.freeze_vision_tower && a.freeze_multi_modal_projector && a.freeze_language_model)
    fail(where(a, "freeze_language_model"),
         ": vision tower, projector and language model are all frozen: nothing would be trained");
}

inline void validate_optimizer(const Arguments& a) {
  const OptimizerSettings& o = a.optimizer;
  if (o.nesterov && (o.momentum == 0 || o.dampening != 0))
    fail(where(a, "optim_args"), ": nesterov needs a momentum, and no dampening");
  if (o.dampening != 0 && o.momentum == 0) fail(where(a, "optim_args"), ": dampening needs a momentum");
  if (!a.pure_bf16) return;
  if (!is_shareable(a.optimizer_kind))
    fail(where(a, "pure_bf16"), " needs optim: adamw_torch, lion_32bit or sgd, whose rules look at single values");
  if (a.shards_optimizer)
    fail(where(a, "pure_bf16"), " is not combined with deepspeed and fsdp, which keep fp32 weights: leave one out");
}

/// LLaMA-Factory's rules, and what is not built.
inline void validate_quantization(const Arguments& a) {
  const QuantizationOptions& q = a.quantization;
  if (q.method != "bnb") fail(where(a, "quantization_method"), ": ", q.method, " is not built, wanted bnb");
  if (q.type != "nf4" && q.type != "fp4")
    fail(where(a, "quantization_type"), ": ", q.type, " is unknown, wanted nf4 or fp4");
  if (!q.bit) return;
  if (*q.bit != 4 && *q.bit != 8) fail(where(a, "quantization_bit"), " is ", *q.bit, ", wanted 4 or 8");
  const std::string subject = where(a, "quantization_bit");
  if (a.finetuning_type != "lora")
    fail(subject, " needs finetuning_type: lora, got ", a.finetuning_type, ": quantised weights cannot learn");
  if (a.use_dora)
    fail(subject, " cannot be combined with use_dora, which measures the rows of whole weights: set it to false");
  if (a.pissa_init)
    fail(subject, " cannot be combined with pissa_init, which changes the base model: start from the adapter that ",
         "pissa_convert wrote (adapter_name_or_path)");
  if (a.create_new_adapter && !a.adapter_name_or_path.empty())
    fail(subject, " cannot be combined with create_new_adapter: no adapter is merged into quantised weights");
  if (a.adapter_name_or_path.size() > 1)
    fail(subject, ": adapter_name_or_path names ", a.adapter_name_or_path.size(),
         " adapters, and a quantised model takes one: merge the others into the base model first (lamina-merge)");
  if (a.generates())
    fail(subject, " cannot be combined with predict_with_generate: answers are drawn from whole weights; leave it out ",
         "in a run that answers");
}

inline void validate_order(const Arguments& a) {
  const std::string& order = a.train_sampling_strategy;
  if (order != "random" && order != "sequential" && order != "group_by_length")
    fail(where(a, "train_sampling_strategy"), ": ", order, " is unknown, wanted random, sequential or group_by_length");
}

inline void validate_data(const Arguments& a) {
  if (a.do_train && a.dataset.empty())
    fail("dataset is not set: name datasets of ", (a.dataset_dir / "dataset_info.json").string());
  if (a.template_name.empty() && a.stage != "pt") fail("template is not set: wanted ", templates_text());
  if (a.train_on_prompt && a.mask_history)
    fail(where(a, "mask_history"),
         " cannot be combined with train_on_prompt: the one labels the last answer only, the other everything");
  if (a.packs() && a.cutoff_len < 2) fail(where(a, "cutoff_len"), " is ", a.cutoff_len, ", wanted at least 2");
  if (a.image_max_pixels < a.image_min_pixels)
    fail(where(a, "image_max_pixels"), " is ", a.image_max_pixels, ", below image_min_pixels ", a.image_min_pixels);
  if (a.video_max_pixels < a.video_min_pixels)
    fail(where(a, "video_max_pixels"), " is ", a.video_max_pixels, ", below video_min_pixels ", a.video_min_pixels);
  if (a.val_size == 1 || (a.val_size > 1 && a.val_size != std::floor(a.val_size)))
    fail(where(a, "val_size"), " is ", a.val_size, ", wanted a fraction below 1, or a number of rows from 2");
  if (a.val_size > 0 && !a.eval_dataset.empty())
    fail(where(a, "val_size"), " cannot be combined with eval_dataset: keep one");
  if (a.val_size > 0 && a.dataset.empty()) fail(where(a, "val_size"), " needs a dataset to take rows from");
  if (a.do_eval && a.val_size == 0 && a.eval_dataset.empty())
    fail(where(a, setting_of(a, "eval_strategy") ? KeyName("eval_strategy") : KeyName("do_eval")),
         " needs rows to evaluate on: set val_size or eval_dataset");
  if (a.eval_on_start && a.val_size == 0 && a.eval_dataset.empty())
    fail(where(a, "eval_on_start"), " needs rows to evaluate on: set val_size or eval_dataset");
}

/// LLaMA-Factory's rules, and orders that a stream does not have.
inline void validate_streaming(const Arguments& a) {
  if (!a.streaming) return;
  if (a.do_train && a.max_steps <= 0)
    fail(where(a, "streaming"), " needs max_steps: how many rows there are is not known");
  if (a.val_size > 0 && a.val_size < 1)
    fail(where(a, "val_size"), " is ", a.val_size,
         ", wanted a number of rows: with streaming there is no share of all");
  if (!a.tokenized_path.empty())
    fail(where(a, "tokenized_path"), " cannot be combined with streaming, which stores nothing: leave one out");
  if (a.max_samples) fail(where(a, "max_samples"), " cannot be combined with streaming: set max_steps");
  if (a.mix_strategy != "concat")
    fail(where(a, "mix_strategy"), ": ", a.mix_strategy, " is not built for streaming: take concat");
  if (a.keeps_order())
    fail(where(a, a.disable_shuffling ? KeyName("disable_shuffling") : KeyName("train_sampling_strategy")),
         " has no effect on streaming, whose order buffer_size decides: set buffer_size: 1, which shuffles nothing");
  if (a.groups_by_length())
    fail(where(a, "train_sampling_strategy"), ": group_by_length needs the lengths of all rows: leave streaming out");
}

inline void validate_trackers(const Arguments& a) {
  for (const std::string& name : a.report_to) {
    if (name == "none" && a.report_to.size() > 1)
      fail(where(a, "report_to"), " holds none and others: keep one of the two");
    static constexpr std::string_view known[] = {"none", "all", "tensorboard", "mlflow", "wandb", "swanlab"};
    if (std::find(std::begin(known), std::end(known), name) != std::end(known)) continue;
    fail(where(a, "report_to"), ": ", name,
         " is not connected, wanted none, tensorboard, mlflow, wandb, swanlab, or all (which is tensorboard)");
  }
}

inline void validate_run(const Arguments& a) {
  if (!a.do_train && !a.do_eval && !a.do_predict)
    fail("nothing to do: set do_train: true, do_eval: true or do_predict: true");
  if (a.output_dir.empty()) fail("output_dir is not set: name the directory for the adapter, checkpoints and reports");
  if (a.max_steps <= 0 && a.num_train_epochs <= 0)
    fail(where(a, "num_train_epochs"), " is ", a.num_train_epochs, ", wanted a positive number, or max_steps");
}

inline void validate_answers(const Arguments& a) {
  const AnswerOptions& o = a.answers;
  if (a.do_predict && !a.predict_with_generate)
    fail(where(a, "do_predict"),
         " needs predict_with_generate: true; for the loss over eval_dataset set do_eval: true");
  if (!a.predict_with_generate) return;
  if (a.eval_on_each_dataset && !a.eval_dataset.empty())
    fail(where(a, "eval_on_each_dataset"),
         " is not built for answers: leave it out, or run once with predict_with_generate for each data set");
  if (a.dataloader_drop_last)
    fail(where(a, "dataloader_drop_last"),
         " would leave the last records unanswered: set it to false, or answer them in a run of its own");
  if (a.val_size == 0 && a.eval_dataset.empty())
    fail(where(a, a.do_predict ? KeyName("do_predict") : KeyName("predict_with_generate")),
         " needs rows to answer: set eval_dataset or val_size");
  constexpr KeyName loss_only = "prediction_loss_only";
  if (has_value(a, loss_only) && io::flag_of(*setting_of(a, loss_only), loss_only))
    fail(where(a, loss_only), " contradicts predict_with_generate: true: keep one");
  if (!a.jieba_dictionary.empty() && !std::filesystem::is_regular_file(a.jieba_dictionary))
    throw io::FileError(cat(where(a, "jieba_dictionary"), ": ", a.jieba_dictionary.string(),
                            " is not a file, wanted jieba's dict.txt or another of its form"));
  if (o.do_sample && o.temperature <= 0)
    fail(where(a, "temperature"), " is ", o.temperature, ", wanted a positive number, or do_sample: false");
}

inline void validate_schedule(const Arguments& a) {
  const ScheduleOptions& o = a.schedule;
  const bool has_floor =
      o.type == ScheduleType::cosine_with_min_lr || o.type == ScheduleType::cosine_warmup_with_min_lr;
  if (has_floor && o.min_lr.has_value() == o.min_lr_rate.has_value())
    fail(where(a, "lr_scheduler_type"), ": ", schedule_names()[static_cast<std::size_t>(o.type)],
         " needs one of min_lr and min_lr_rate in lr_scheduler_kwargs");
  if (o.type == ScheduleType::reduce_lr_on_plateau) {
    if (a.eval_strategy == Interval::no)
      fail(where(a, "lr_scheduler_type"), ": reduce_lr_on_plateau needs an eval_strategy: it follows the evaluations");
    if (o.plateau.factor >= 1)
      fail(where(a, "lr_scheduler_kwargs"), ": factor is ", o.plateau.factor, ", wanted below 1");
  }
  if (o.type == ScheduleType::polynomial && a.optimizer.learning_rate <= o.lr_end.value_or(1e-7))
    fail(where(a, "learning_rate"), " is ", a.optimizer.learning_rate,
         ", not above the end of the polynomial decay, lr_end ", o.lr_end.value_or(1e-7));
}

/// A number of steps: a fraction of all, or a whole number.
inline void validate_steps(const Arguments& a, KeyName key, double steps) {
  if (steps <= 0) fail(where(a, key), " is ", steps, ", wanted a positive number");
  if (steps > 1 && steps != std::floor(steps))
    fail(where(a, key), " is ", steps, ", wanted a whole number of steps, or a fraction of all below 1");
}

inline void validate_best_metric(const Arguments& a) {
  const std::vector<std::string> known = a.eval_metrics();
  const bool needed = a.seeks_best() || a.schedule.type == ScheduleType::reduce_lr_on_plateau;
  if (needed && std::find(known.begin(), known.end(), a.best_metric()) == known.end())
    fail(where(a, "metric_for_best_model"), ": ", a.best_metric(), " is not computed, wanted one of ",
         io::listed(known), "; eval_ may be left out");
}

inline void validate_intervals(const Arguments& a) {
  if (a.logging_strategy == Interval::steps) validate_steps(a, "logging_steps", a.logging_steps);
  if (a.save_strategy == Interval::steps) validate_steps(a, "save_steps", a.save_steps);
  if (a.eval_steps) validate_steps(a, "eval_steps", *a.eval_steps);
  if (a.early_stopping_steps) {
    if (!a.load_best_model_at_end || a.eval_strategy == Interval::no)
      fail(where(a, "early_stopping_steps"),
           " needs load_best_model_at_end: true and an eval_strategy: it stops when evaluation no longer improves");
  }
  validate_best_metric(a);
  if (a.save_strategy == Interval::best && a.eval_strategy == Interval::no)
    fail(where(a, "save_strategy"), ": best needs an eval_strategy");
  if (!a.load_best_model_at_end || a.save_strategy == Interval::best) return;
  if (a.eval_strategy == Interval::no)
    fail(where(a, "load_best_model_at_end"), " needs an eval_strategy: without one no model is the best");
  if (a.save_strategy != a.eval_strategy)
    fail(where(a, "load_best_model_at_end"),
         " needs save_strategy and eval_strategy to be the same, so that the best model is a saved one");
  if (a.save_strategy != Interval::steps) return;
  const double eval_steps = a.eval_steps.value_or(a.logging_steps);
  const double times = a.save_steps / eval_steps;
  if ((a.save_steps < 1) != (eval_steps < 1) || std::abs(times - std::round(times)) > 1e-9)
    fail(where(a, "load_best_model_at_end"), " needs save_steps ", a.save_steps, " to be a multiple of eval_steps ",
         eval_steps);
}

}  // namespace detail

/// Checks what no single key can know; LLaMA-Factory's and transformers' rules.
inline void validate_arguments(const Arguments& a) {
  detail::validate_run(a);
  detail::validate_trackers(a);
  detail::validate_stage(a);
  detail::validate_preferences(a);
  detail::validate_method(a);
  detail::validate_optimizer(a);
  detail::validate_quantization(a);
  detail::validate_data(a);
  detail::validate_streaming(a);
  detail::validate_order(a);
  detail::validate_answers(a);
  detail::validate_schedule(a);
  detail::validate_intervals(a);
}

}  // namespace lamina::train
