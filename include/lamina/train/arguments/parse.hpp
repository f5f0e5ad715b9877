#pragma once
#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/io/keys/settings.hpp>
#include <lamina/train/arguments/keys.hpp>
#include <lamina/train/arguments/optim_args.hpp>
#include <lamina/train/arguments/validate.hpp>

namespace lamina::train {

namespace detail {

/// Defaults that follow other keys, after all are read.
inline void derive_defaults(Arguments& a) {
  if (a.media_dir.empty()) a.media_dir = a.dataset_dir;
  if (setting_of(a, "enable_thinking") && !has_value(a, "enable_thinking")) a.enable_thinking.reset();
  if (!has_value(a, "greater_is_better")) a.greater_is_better = !a.metric_for_best_model.ends_with("loss");
  if (a.eval_strategy != Interval::no) a.do_eval = true;
  a.answers.seed = a.seed;
  if (a.use_muon) a.optimizer_kind = OptimizerKind::muon;
  read_optim_args(a);
}

inline bool reports_to_wandb(const Arguments& a) {
  return std::find(a.report_to.begin(), a.report_to.end(), "wandb") != a.report_to.end();
}

/// A note for each key that was given while what it belongs to is off.
inline void note_idle_keys(Arguments& a) {
  struct Belonging {
    KeyName key;
    bool acts;
    std::string_view needs;
  };
  for (const Belonging& b :
       {Belonging{"freeze_trainable_modules", a.finetuning_type == "freeze", "finetuning_type: freeze"},
        Belonging{"freeze_extra_modules", a.finetuning_type == "freeze", "finetuning_type: freeze"},
        Belonging{"optim", !a.use_muon, "use_muon: false"},
        Belonging{"adam_beta1", has_betas(a.optimizer_kind), "optim: adamw_torch or lion_32bit"},
        Belonging{"adam_beta2", has_betas(a.optimizer_kind), "optim: adamw_torch or lion_32bit"},
        Belonging{
            "adam_epsilon",
            a.use_muon || a.optimizer_kind == OptimizerKind::adamw || a.optimizer_kind == OptimizerKind::adamw_8bit,
            "optim: adamw_torch or adamw_8bit"},
        Belonging{"optim_args",
                  a.optimizer_kind == OptimizerKind::sgd || a.optimizer_kind == OptimizerKind::sgd_momentum,
                  "optim: sgd: transformers reads it for no other"},
        Belonging{"pure_bf16", a.finetuning_type != "lora" || !a.pure_bf16,
                  "finetuning_type: full or freeze: adapters are fp32, as PEFT keeps them"},
        Belonging{"resize_vocab", a.finetuning_type == "lora" || !a.resize_vocab, "finetuning_type: lora"},
        Belonging{"quantization_type", a.quantization.bit == 4, "quantization_bit: 4"},
        Belonging{"double_quantization", a.quantization.bit == 4, "quantization_bit: 4"},
        Belonging{"lora_rank", a.finetuning_type == "lora", "finetuning_type: lora"},
        Belonging{"lora_alpha", a.finetuning_type == "lora", "finetuning_type: lora"},
        Belonging{"lora_target", a.finetuning_type == "lora", "finetuning_type: lora"},
        Belonging{"pissa_iter", a.pissa_init, "pissa_init"},
        Belonging{"pissa_convert", a.pissa_init || !a.pissa_convert, "pissa_init"},
        Belonging{"preprocessing_batch_size", a.packs(), "packing: rows are read one by one"},
        Belonging{"preprocessing_num_workers", a.packs(), "packing: rows are read in one pass"},
        Belonging{"pref_loss", a.stage == "dpo", "stage: dpo"},
        Belonging{"dpo_label_smoothing", a.stage == "dpo", "stage: dpo"},
        Belonging{"simpo_gamma", a.stage == "dpo" && a.preference.kind == PreferenceLoss::Kind::simpo,
                  "stage: dpo and pref_loss: simpo"},
        Belonging{"kto_chosen_weight", a.stage == "kto", "stage: kto"},
        Belonging{"kto_rejected_weight", a.stage == "kto", "stage: kto"},
        Belonging{"pref_beta", a.learns_preferences(), "stage: dpo or kto"},
        Belonging{"pref_ftx", a.learns_preferences(), "stage: dpo or kto"},
        Belonging{"lora_dropout", !a.learns_preferences() || a.lora_dropout == 0, "stage: sft or pt"},
        Belonging{"temperature", a.answers.do_sample, "do_sample: true"},
        Belonging{"top_p", a.answers.do_sample, "do_sample: true"},
        Belonging{"top_k", a.answers.do_sample, "do_sample: true"},
        Belonging{"freeze_trainable_layers", a.finetuning_type == "freeze", "finetuning_type: freeze"},
        Belonging{"project", reports_to_wandb(a), "report_to: wandb"},
        Belonging{"adapter_folder", !a.adapter_name_or_path.empty(), "adapter_name_or_path"}})
    if (has_value(a, b.key) && !b.acts)
      a.notes.push_back(cat(std::string_view(b.key), " has no effect without ", b.needs));
}

/// Settings that mean nothing next to others.
inline void note_combinations(Arguments& a) {
  note_idle_keys(a);
  if (a.resume_from_checkpoint && !a.do_train)
    a.notes.push_back(
        "resume_from_checkpoint has no effect without do_train: true; to evaluate a checkpoint, give it as "
        "adapter_name_or_path or, of a model trained as a whole, as model_name_or_path");
  if (a.eval_on_each_dataset && a.eval_dataset.empty())
    a.notes.push_back("eval_on_each_dataset has no effect without eval_dataset");
  if (a.predict_with_generate && !a.generates())
    a.notes.push_back("predict_with_generate: nothing is generated without do_eval: true or do_predict: true");
  if (a.predict_with_generate && (a.eval_strategy != Interval::no || a.eval_on_start))
    a.notes.push_back("predict_with_generate: evaluations during training report the loss; answers are drawn after it");
}

}  // namespace detail

/// Reads and checks every setting that the words of a command line give, or the file that they name. Error if a key is
/// unknown, refused, of the wrong type, or contradicts another.
inline Arguments parse_arguments(std::span<const std::string> words) {
  Arguments a;
  io::Settings settings = io::read_settings(words, a.notes);
  io::check_keys(all_keys(), settings, a.notes,
                 {"dry-run", "describe", "show-prompt", "watch", "keys", "help", "version"});
  a.given = std::move(settings);
  io::fill(all_keys(), a.given, a);
  detail::derive_defaults(a);
  detail::note_combinations(a);
  validate_arguments(a);
  return a;
}

}  // namespace lamina::train
