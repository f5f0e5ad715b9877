#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/checkpoint/folders.hpp>
#include <lamina/train/arguments.hpp>
#include <lamina/train/arguments/validate.hpp>
#include <lamina/train/arguments/values.hpp>

namespace lamina::train {

namespace detail {

/// Typed access to settings: a null or absent key leaves the default.
struct Reader {
  const Settings& settings;

  const Setting* find(const char* key) const {
    const auto at = settings.find(key);
    return at == settings.end() || at->second.value.is_null() ? nullptr : &at->second;
  }
  void flag(const char* key, bool& out) const {
    if (const Setting* s = find(key)) out = flag_of(*s, key);
  }
  void flag(const char* key, std::optional<bool>& out) const {
    if (const Setting* s = find(key)) out = flag_of(*s, key);
  }
  template <class Number>
  void number(const char* key, Number& out) const {
    if (const Setting* s = find(key)) out = number_of(*s, key);
  }
  template <class Integer>
  void integer(const char* key, Integer& out) const {
    if (const Setting* s = find(key)) out = bounded<Integer>(*s, key);
  }
  template <class Integer>
  void integer(const char* key, std::optional<Integer>& out) const {
    if (const Setting* s = find(key)) out = bounded<Integer>(*s, key);
  }
  template <class Text>
  void text(const char* key, Text& out) const {
    if (const Setting* s = find(key)) out = text_of(*s, key);
  }
  void folder(const char* key, std::filesystem::path& out) const {
    text(key, out);
    out = checkpoint::without_trailing_slash(out);
  }
  void list(const char* key, std::vector<std::string>& out) const {
    if (const Setting* s = find(key)) out = list_of(*s, key);
  }
  void interval(const char* key, Interval& out) const {
    const Setting* s = find(key);
    if (!s) return;
    const std::string word = text_of(*s, key);
    if (word == "steps")
      out = Interval::steps;
    else if (word == "epoch")
      out = Interval::epoch;
    else if (word_as_flag(word) == false)  // YAML's no is false
      out = Interval::no;
    else if (word == "best" && std::string_view(key) == "save_strategy")
      out = Interval::best;
    else
      wrong_type(*s, key, std::string_view(key) == "save_strategy" ? "no, steps, epoch or best" : "no, steps or epoch");
  }

 private:
  template <class Integer>
  static Integer bounded(const Setting& s, const char* key) {
    const std::int64_t value = integer_of(s, key);
    if (!std::in_range<Integer>(value))
      wrong_type(s, key, std::is_unsigned_v<Integer> ? "a whole number from 0" : "a smaller number");
    return static_cast<Integer>(value);
  }
};

/// A refused key stops unless it asks for nothing; an accepted one leaves a note. `group`: what precedes its name.
inline void check_value(const Key& key, const Setting& setting, std::string_view group,
                        std::vector<std::string>& notes) {
  check_type(key, setting);
  if (key.status == KeyStatus::honoured || is_inert(key, setting)) return;
  if (key.status == KeyStatus::refused)
    fail(setting.origin, ": ", group, key.name, ": ", shown(setting.value), " is refused: ", key.note);
  notes.push_back(cat(group, key.name, ": ", shown(setting.value), " has no effect: ", key.note));
}

/// Unknown keys stop; refused ones stop unless they ask for nothing; accepted ones leave a note.
inline void check_keys(const Settings& settings, std::vector<std::string>& notes) {
  for (const auto& [name, setting] : settings) {
    const Key* key = find_key(name);
    if (!key) {
      std::vector<std::string_view> known;
      for (const Key& k : all_keys()) known.push_back(k.name);
      fail(setting.origin, ": ", name, " is not a known key", did_you_mean(name, known));
    }
    check_value(*key, setting, "", notes);
  }
}

inline void read_model(const Reader& r, Arguments& a) {
  r.folder("model_name_or_path", a.model_name_or_path);
  std::vector<std::string> adapters;
  std::string folder;
  r.list("adapter_name_or_path", adapters);
  r.text("adapter_folder", folder);
  for (const std::string& adapter : adapters)
    a.adapter_name_or_path.push_back(checkpoint::without_trailing_slash(std::filesystem::path(adapter) / folder));
  r.flag("disable_gradient_checkpointing", a.disable_gradient_checkpointing);
  r.flag("print_param_status", a.print_param_status);
  r.integer("image_max_pixels", a.image_max_pixels);
  r.integer("image_min_pixels", a.image_min_pixels);
}

inline void read_data(const Reader& r, Arguments& a) {
  r.text("template", a.template_name);
  r.list("dataset", a.dataset);
  r.list("eval_dataset", a.eval_dataset);
  r.text("dataset_dir", a.dataset_dir);
  a.media_dir = a.dataset_dir;
  r.text("media_dir", a.media_dir);
  r.integer("cutoff_len", a.cutoff_len);
  r.flag("train_on_prompt", a.train_on_prompt);
  r.flag("mask_history", a.mask_history);
  r.integer("max_samples", a.max_samples);
  r.number("val_size", a.val_size);
  r.text("mix_strategy", a.mix_strategy);
  if (const Setting* s = r.find("interleave_probs"))
    for (const std::string& item : list_of(*s, "interleave_probs"))
      a.interleave_probs.push_back(number_of({item, s->origin}, "interleave_probs"));
  r.flag("skip_bad_samples", a.skip_bad_samples);
  r.text("default_system", a.default_system);
  if (const auto at = r.settings.find("enable_thinking"); at != r.settings.end() && at->second.value.is_null())
    a.enable_thinking.reset();
  r.flag("enable_thinking", a.enable_thinking);
  r.flag("preserve_thinking", a.preserve_thinking);
}

inline void read_finetuning(const Reader& r, Arguments& a) {
  r.text("finetuning_type", a.finetuning_type);
  r.integer("lora_rank", a.lora_rank);
  r.number("lora_alpha", a.lora_alpha);
  r.number("lora_dropout", a.lora_dropout);
  r.list("lora_target", a.lora_target);
  r.flag("use_rslora", a.use_rslora);
  r.flag("create_new_adapter", a.create_new_adapter);
  r.flag("freeze_vision_tower", a.freeze_vision_tower);
  r.flag("freeze_multi_modal_projector", a.freeze_multi_modal_projector);
  r.flag("freeze_language_model", a.freeze_language_model);
  r.integer("freeze_trainable_layers", a.freeze_trainable_layers);
  r.flag("plot_loss", a.plot_loss);
  r.flag("disable_shuffling", a.disable_shuffling);
  r.flag("include_effective_tokens_per_second", a.include_effective_tokens_per_second);
  r.integer("early_stopping_steps", a.early_stopping_steps);
}

inline Ramp ramp_of(const Json& value, const std::string& name) {
  const std::string word = shown(value);
  if (word == "linear") return Ramp::linear;
  if (word == "cosine") return Ramp::cosine;
  if (word == "1-sqrt") return Ramp::one_minus_sqrt;
  fail("lr_scheduler_kwargs: ", name, " is ", word, ", wanted linear, cosine or 1-sqrt");
}

/// Which of lr_scheduler_kwargs a schedule takes.
inline std::vector<std::string_view> schedule_keywords(ScheduleType type) {
  switch (type) {
    case ScheduleType::cosine:
    case ScheduleType::cosine_with_restarts:
      return {"num_cycles"};
    case ScheduleType::polynomial:
      return {"lr_end", "power"};
    case ScheduleType::inverse_sqrt:
      return {"timescale"};
    case ScheduleType::cosine_with_min_lr:
      return {"min_lr", "min_lr_rate", "num_cycles"};
    case ScheduleType::warmup_stable_decay:
      return {"num_stable_steps", "num_decay_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles"};
    default:
      return {};
  }
}

/// warmup_steps; a warmup_ratio wins over it, 0.0 too, as in transformers 5.
inline void read_warmup(const Reader& r, Arguments& a) {
  r.number("warmup_steps", a.schedule.warmup_steps);
  const Setting* s = r.find("warmup_ratio");
  if (!s) return;
  const double ratio = number_of(*s, "warmup_ratio");
  if (ratio < 0 || ratio >= 1)
    fail(s->origin, ": warmup_ratio is ", ratio, ", wanted 0 up to below 1; a number of steps goes into warmup_steps");
  if (r.find("warmup_steps") && a.schedule.warmup_steps != ratio)
    a.notes.push_back(
        cat("warmup_steps: ", a.schedule.warmup_steps, " has no effect: warmup_ratio: ", ratio, " decides"));
  a.schedule.warmup_steps = ratio;
}

inline void read_schedule(const Reader& r, ScheduleOptions& o) {
  if (const Setting* s = r.find("lr_scheduler_type")) o.type = schedule_type(text_of(*s, "lr_scheduler_type"));
  const Setting* s = r.find("lr_scheduler_kwargs");
  if (!s) return;
  const auto known = schedule_keywords(o.type);
  const Json given = object_of(*s, "lr_scheduler_kwargs");
  for (const auto& [name, value] : given.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      fail(s->origin, ": lr_scheduler_kwargs: the schedule ", schedule_names()[static_cast<std::size_t>(o.type)],
           " takes no ", name, did_you_mean(name, known));
    }
    const Setting one{value, s->origin};
    if (name == "warmup_type")
      o.warmup_type = ramp_of(value, name);
    else if (name == "decay_type")
      o.decay_type = ramp_of(value, name);
    else if (name == "min_lr_ratio")
      o.min_lr_ratio = number_of(one, name);
    else {
      const std::pair<std::string_view, std::optional<double>*> fields[] = {{"num_cycles", &o.num_cycles},
                                                                            {"power", &o.power},
                                                                            {"lr_end", &o.lr_end},
                                                                            {"min_lr", &o.min_lr},
                                                                            {"min_lr_rate", &o.min_lr_rate},
                                                                            {"timescale", &o.timescale},
                                                                            {"num_stable_steps", &o.num_stable_steps},
                                                                            {"num_decay_steps", &o.num_decay_steps}};
      for (const auto& [field, out] : fields)
        if (field == name && !value.is_null()) *out = number_of(one, name);
    }
  }
}

inline void read_optimizer(const Reader& r, Arguments& a) {
  r.number("learning_rate", a.optimizer.learning_rate);
  r.number("weight_decay", a.optimizer.weight_decay);
  r.number("adam_beta1", a.optimizer.beta1);
  r.number("adam_beta2", a.optimizer.beta2);
  r.number("adam_epsilon", a.optimizer.epsilon);
  r.number("max_grad_norm", a.max_grad_norm);
  read_schedule(r, a.schedule);
  read_warmup(r, a);
  if (const Setting* s = r.find("optim")) {
    const std::string name = text_of(*s, "optim");
    if (name != "adamw_torch" && name != "adamw_torch_fused" && name != "adamw_hf")
      fail(s->origin, ": optim: ", name,
           " is refused: the optimizer is AdamW with fp32 moments; set optim: adamw_torch");
  }
}

/// accelerate's settings: in one process, only what decides the order of rows and the windows means something.
inline void read_accelerator(const Reader& r, Arguments& a) {
  const Setting* s = r.find("accelerator_config");
  if (!s) return;
  const Json config = object_of(*s, "accelerator_config");
  for (const auto& [name, value] : config.items()) {
    const Key known[] = {
        {"use_seedable_sampler", KeyType::flag, KeyStatus::refused, "true",
         "rows come in the order of accelerate's seedable sampler; leave it out"},
        {"gradient_accumulation_kwargs", KeyType::object, KeyStatus::refused, "",
         "gradient_accumulation_steps decides; leave it out"},
        {"split_batches", KeyType::flag, KeyStatus::accepted, "false", "there is one process"},
        {"dispatch_batches", KeyType::flag, KeyStatus::accepted, "", "there is one process"},
        {"even_batches", KeyType::flag, KeyStatus::accepted, "true", "there is one process"},
        {"non_blocking", KeyType::flag, KeyStatus::accepted, "false", "batches are handed over in memory"},
        {"use_configured_state", KeyType::flag, KeyStatus::accepted, "false", "there is one process"},
    };
    const auto key = std::find_if(std::begin(known), std::end(known), [&](const Key& k) { return k.name == name; });
    if (key == std::end(known)) fail(s->origin, ": accelerator_config has no ", name);
    check_value(*key, {value, s->origin}, "accelerator_config.", a.notes);
  }
}

/// device, and use_cpu, which is device: cpu.
inline void read_device(const Reader& r, Arguments& a) {
  r.text("device", a.device);
  bool use_cpu = false;
  r.flag("use_cpu", use_cpu);
  if (!use_cpu) return;
  if (a.device == "cuda") fail(r.find("use_cpu")->origin, ": use_cpu: true contradicts device: cuda: keep one");
  a.device = "cpu";
}

inline void read_resume(const Reader& r, Arguments& a) {
  const Setting* s = r.find("resume_from_checkpoint");
  if (!s) return;
  const std::string from = text_of(*s, "resume_from_checkpoint");
  const auto flag = word_as_flag(from);
  if (!flag && !from.empty()) a.resume_from_checkpoint = from;
  if (flag.value_or(false)) a.resume_from_checkpoint = "true";
}

inline void read_run(const Reader& r, Arguments& a) {
  r.folder("output_dir", a.output_dir);
  r.flag("overwrite_output_dir", a.overwrite_output_dir);
  r.flag("do_train", a.do_train);
  r.flag("do_eval", a.do_eval);
  r.flag("do_predict", a.do_predict);
  r.flag("predict_with_generate", a.predict_with_generate);
  r.integer("per_device_train_batch_size", a.per_device_train_batch_size);
  r.integer("per_device_eval_batch_size", a.per_device_eval_batch_size);
  r.integer("gradient_accumulation_steps", a.gradient_accumulation_steps);
  r.number("num_train_epochs", a.num_train_epochs);
  r.integer("max_steps", a.max_steps);
  read_device(r, a);
  r.flag("full_determinism", a.full_determinism);
  r.integer("seed", a.seed);
  r.integer("data_seed", a.data_seed);
  read_resume(r, a);
  r.flag("ignore_data_skip", a.ignore_data_skip);
  r.integer("dataloader_num_workers", a.dataloader_num_workers);
  r.flag("disable_tqdm", a.disable_tqdm);
  read_accelerator(r, a);
}

inline void read_answers(const Reader& r, Arguments& a) {
  AnswerOptions& o = a.answers;
  r.flag("do_sample", o.do_sample);
  r.number("temperature", o.temperature);
  r.number("top_p", o.top_p);
  r.integer("top_k", o.top_k);
  r.integer("max_new_tokens", o.max_new_tokens);
  r.integer("max_length", o.max_length);
  r.number("repetition_penalty", o.repetition_penalty);
  r.flag("skip_special_tokens", o.skip_special_tokens);
  o.seed = a.seed;
  r.text("jieba_dictionary", a.jieba_dictionary);
}

/// Settings that mean nothing beside others; after all are read.
inline void note_combinations(const Reader& r, Arguments& a) {
  if (a.resume_from_checkpoint && !a.do_train)
    a.notes.push_back(
        "resume_from_checkpoint has no effect without do_train: true; to evaluate a checkpoint, give it as "
        "adapter_name_or_path or, of a model trained as a whole, as model_name_or_path");
  if (r.find("adapter_folder") && a.adapter_name_or_path.empty())
    a.notes.push_back("adapter_folder has no effect without adapter_name_or_path");
  if (a.predict_with_generate && !a.generates())
    a.notes.push_back("predict_with_generate: nothing is generated without do_eval: true or do_predict: true");
  if (a.predict_with_generate && (a.eval_strategy != Interval::no || a.eval_on_start))
    a.notes.push_back("predict_with_generate: evaluations during training report the loss; answers are drawn after it");
}

inline void read_reports(const Reader& r, Arguments& a) {
  r.interval("logging_strategy", a.logging_strategy);
  r.number("logging_steps", a.logging_steps);
  r.flag("logging_first_step", a.logging_first_step);
  if (const Setting* s = r.find("include_num_input_tokens_seen")) {
    const std::string word = text_of(*s, "include_num_input_tokens_seen");
    a.include_num_input_tokens_seen =
        word == "all" || word == "non_padding" || flag_of(*s, "include_num_input_tokens_seen");
    if (a.include_num_input_tokens_seen && word != "non_padding")
      a.notes.push_back(
          cat("include_num_input_tokens_seen: ", word, " counts what non_padding counts: nothing is padded"));
  }
  r.interval("save_strategy", a.save_strategy);
  r.number("save_steps", a.save_steps);
  r.integer("save_total_limit", a.save_total_limit);
  r.flag("save_only_model", a.save_only_model);
  r.interval("eval_strategy", a.eval_strategy);
  r.number("eval_steps", a.eval_steps);
  r.number("eval_delay", a.eval_delay);
  r.flag("eval_on_start", a.eval_on_start);
  r.flag("load_best_model_at_end", a.load_best_model_at_end);
  r.text("metric_for_best_model", a.metric_for_best_model);
  a.greater_is_better = !a.metric_for_best_model.ends_with("loss");
  r.flag("greater_is_better", a.greater_is_better);
  if (a.eval_strategy != Interval::no) a.do_eval = true;
}

}  // namespace detail

/// Reads and checks every setting. Error where a key is unknown, refused, of the wrong type, or fits no other.
inline Arguments parse_arguments(Settings settings) {
  Arguments a;
  detail::check_keys(settings, a.notes);
  const detail::Reader reader{settings};
  detail::read_model(reader, a);
  detail::read_data(reader, a);
  detail::read_finetuning(reader, a);
  detail::read_optimizer(reader, a);
  detail::read_run(reader, a);
  detail::read_answers(reader, a);
  detail::read_reports(reader, a);
  detail::note_combinations(reader, a);
  a.given = std::move(settings);
  validate_arguments(a);
  return a;
}

}  // namespace lamina::train
