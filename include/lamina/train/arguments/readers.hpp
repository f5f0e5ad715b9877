#pragma once
#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/io/keys/key_table.hpp>
#include <lamina/train/arguments.hpp>

/// Readers of the keys that do more than fill a member.
namespace lamina::train {

using io::honoured, io::honoured_by, io::honoured_word, io::KeyStatus, io::KeyType, io::Setting;
using TrainKey = io::Key<Arguments>;

inline void read_value(const Setting& s, std::string_view key, ScheduleType& out) {
  out = schedule_type(io::text_of(s, key));
}
inline std::string show_value(ScheduleType type) {
  return std::string(schedule_names()[static_cast<std::size_t>(type)]);
}

/// Evaluation says which checkpoint is the best, so that only saving can follow it.
inline void read_value(const Setting& s, std::string_view key, Interval& out) {
  const std::string word = io::text_of(s, key);
  const bool has_best = key == "save_strategy";
  if (word == "steps")
    out = Interval::steps;
  else if (word == "epoch")
    out = Interval::epoch;
  else if (io::word_as_flag(word) == false)  // YAML's no is false
    out = Interval::no;
  else if (word == "best" && has_best)
    out = Interval::best;
  else
    io::wrong_value(s, key, has_best ? "no, steps, epoch or best" : "no, steps or epoch");
}
inline std::string show_value(Interval interval) {
  return interval == Interval::no ? "no" : interval == Interval::steps ? "steps" : "epoch";
}

namespace detail {

inline Ramp ramp_of(const nlohmann::ordered_json& value, const std::string& name) {
  const std::string word = io::shown(value);
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
    case ScheduleType::cosine_warmup_with_min_lr:
      return {"min_lr", "min_lr_rate", "warmup_lr_rate", "num_cycles"};
    case ScheduleType::warmup_stable_decay:
      return {"num_stable_steps", "num_decay_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles"};
    case ScheduleType::reduce_lr_on_plateau:
      return {"mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps"};
    default:
      return {};
  }
}

/// One of the keywords of reduce_lr_on_plateau.
inline void read_plateau_option(PlateauOptions& o, const std::string& name, const Setting& s) {
  const auto is_second = [&](const char* first, const char* second) {
    const std::string word = io::text_of(s, name);
    if (word != first && word != second) io::wrong_value(s, name, cat(first, " or ", second));
    return word == second;
  };
  if (name == "mode")
    o.seeks_greater = is_second("min", "max");
  else if (name == "threshold_mode")
    o.relative = !is_second("rel", "abs");
  else if (name == "patience" || name == "cooldown")
    (name == "patience" ? o.patience : o.cooldown) =
        static_cast<std::int64_t>(io::number_in(s, name, io::between(0, 1e12)));
  else
    (name == "factor"      ? o.factor
     : name == "threshold" ? o.threshold
     : name == "min_lr"    ? o.min_lr
                           : o.eps) = io::number_in(s, name, io::at_least(0));
}

/// Fills the member that one of the numbers in lr_scheduler_kwargs is for.
inline void read_schedule_option(ScheduleOptions& o, std::string_view name, const Setting& s) {
  struct Option {
    std::string_view name;
    std::optional<double>* out;
    io::Range range = io::at_least(0);
  };
  for (const Option& option :
       {Option{"num_cycles", &o.num_cycles}, Option{"power", &o.power}, Option{"lr_end", &o.lr_end},
        Option{"min_lr", &o.min_lr}, Option{"min_lr_rate", &o.min_lr_rate, io::between(0, 1)},
        Option{"warmup_lr_rate", &o.warmup_lr_rate}, Option{"timescale", &o.timescale, io::positive},
        Option{"num_stable_steps", &o.num_stable_steps}, Option{"num_decay_steps", &o.num_decay_steps}})
    if (option.name == name) *option.out = io::number_in(s, name, option.range);
}

/// Comes after lr_scheduler_type, which says which options there are.
inline void read_schedule_options(Arguments& a, const Setting& s, std::string_view key) {
  ScheduleOptions& o = a.schedule;
  const auto known = schedule_keywords(o.type);
  const auto given = io::object_of(s, key, "a mapping, such as {min_lr_rate: 0.1}");
  for (const auto& [name, value] : given.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end())
      fail(s.origin, ": lr_scheduler_kwargs: the schedule ", show_value(o.type), " takes no ", name,
           io::did_you_mean(name, known));
    if (o.type == ScheduleType::reduce_lr_on_plateau)
      read_plateau_option(o.plateau, name, {value, s.origin});
    else if (name == "warmup_type")
      o.warmup_type = ramp_of(value, name);
    else if (name == "decay_type")
      o.decay_type = ramp_of(value, name);
    else if (name == "min_lr_ratio")
      o.min_lr_ratio = io::number_in({value, s.origin}, name, io::between(0, 1));
    else if (!value.is_null())
      read_schedule_option(o, name, {value, s.origin});
  }
}

/// Comes after warmup_steps and wins over it, 0.0 too, as in transformers 5.
inline void read_warmup_ratio(Arguments& a, const Setting& s, std::string_view key) {
  const double ratio = io::number_of(s, key);
  if (ratio < 0 || ratio >= 1)
    fail(s.origin, ": warmup_ratio is ", ratio, ", wanted 0 up to below 1; a number of steps goes into warmup_steps");
  const auto steps = a.given.find("warmup_steps");
  if (steps != a.given.end() && !steps->second.value.is_null() && a.schedule.warmup_steps != ratio)
    a.notes.push_back(
        cat("warmup_steps: ", a.schedule.warmup_steps, " has no effect: warmup_ratio: ", ratio, " decides"));
  a.schedule.warmup_steps = ratio;
}

/// An optimizer by one of its names, those of transformers.
struct OptimizerName {
  std::string_view name;
  OptimizerKind kind;
  std::string_view note = {};  ///< what is different here
};
inline constexpr std::string_view fused_elsewhere = "it computes what adamw_torch does";
inline constexpr std::string_view not_paged = "its state stays where the weights are; nothing is paged out";
inline constexpr OptimizerName optimizer_names[] = {{"adamw_torch", OptimizerKind::adamw},
                                                    {"adamw_torch_fused", OptimizerKind::adamw},
                                                    {"adamw_hf", OptimizerKind::adamw},
                                                    {"adamw_apex_fused", OptimizerKind::adamw, fused_elsewhere},
                                                    {"adamw_torch_xla", OptimizerKind::adamw, fused_elsewhere},
                                                    {"adamw_torch_npu_fused", OptimizerKind::adamw, fused_elsewhere},
                                                    {"adamw_anyprecision", OptimizerKind::adamw, fused_elsewhere},
                                                    {"paged_adamw", OptimizerKind::adamw, not_paged},
                                                    {"paged_adamw_32bit", OptimizerKind::adamw, not_paged},
                                                    {"adamw_8bit", OptimizerKind::adamw_8bit},
                                                    {"adamw_bnb_8bit", OptimizerKind::adamw_8bit},
                                                    {"paged_adamw_8bit", OptimizerKind::adamw_8bit, not_paged},
                                                    {"lion_32bit", OptimizerKind::lion},
                                                    {"paged_lion_32bit", OptimizerKind::lion, not_paged},
                                                    {"lion_8bit", OptimizerKind::lion_8bit},
                                                    {"paged_lion_8bit", OptimizerKind::lion_8bit, not_paged},
                                                    {"sgd", OptimizerKind::sgd},
                                                    {"adafactor", OptimizerKind::adafactor}};

inline void read_optimizer_name(Arguments& a, const Setting& s, std::string_view key) {
  const std::string word = io::text_of(s, key);
  for (const OptimizerName& known : optimizer_names) {
    if (known.name != word) continue;
    a.optimizer_kind = known.kind;
    if (!known.note.empty()) a.notes.push_back(cat("optim: ", word, ": ", known.note));
    return;
  }
  std::vector<std::string_view> names;
  for (const OptimizerName& known : optimizer_names) names.push_back(known.name);
  fail(
      s.origin, ": optim: ", word, " is not built", io::did_you_mean(word, names),
      ": wanted adamw_torch, adamw_8bit, lion_32bit, lion_8bit, sgd or adafactor; the least memory have sgd, adafactor "
      "and, of all others, finetuning_type: lora");
}

inline void read_preference_loss(Arguments& a, const Setting& s, std::string_view key) {
  using Kind = PreferenceLoss::Kind;
  static constexpr std::pair<std::string_view, Kind> kinds[] = {{"sigmoid", Kind::sigmoid},
                                                                {"hinge", Kind::hinge},
                                                                {"ipo", Kind::ipo},
                                                                {"orpo", Kind::orpo},
                                                                {"simpo", Kind::simpo}};
  const std::string word = io::text_of(s, key);
  for (const auto& [name, kind] : kinds)
    if (word == name) {
      a.preference.kind = kind;
      return;
    }
  if (word == "kto_pair")
    fail(s.origin, ": pref_loss: kto_pair is not built, which trl no longer has either: take stage: kto, or sigmoid");
  io::wrong_value(s, key, "sigmoid, hinge, ipo, orpo or simpo");
}

/// accelerate's settings: those that decide the order of rows and the windows mean something.
inline void read_accelerator(Arguments& a, const Setting& s, std::string_view key) {
  static constexpr io::KeyRow known[] = {
      {"use_seedable_sampler", KeyType::flag, KeyStatus::refused, "true",
       "rows come in the order of accelerate's seedable sampler; leave it out"},
      {"gradient_accumulation_kwargs", KeyType::object, KeyStatus::refused, "",
       "gradient_accumulation_steps decides; leave it out"},
      {"split_batches", KeyType::flag, KeyStatus::refused, "false",
       "per_device_train_batch_size is that of each process; leave it out"},
      {"dispatch_batches", KeyType::flag, KeyStatus::accepted, "", "each process reads its own rows"},
      {"even_batches", KeyType::flag, KeyStatus::refused, "true", "all processes have as many rows; leave it out"},
      {"non_blocking", KeyType::flag, KeyStatus::accepted, "false", "batches are handed over in memory"},
      {"use_configured_state", KeyType::flag, KeyStatus::accepted, "false", "there is no accelerate here"},
  };
  const auto config = io::object_of(s, key);
  for (const auto& [name, value] : config.items()) {
    const io::KeyRow* row = io::find_key(std::span<const io::KeyRow>(known), name);
    if (!row) fail(s.origin, ": accelerator_config has no ", name);
    io::check_value(*row, {value, s.origin}, a.notes, "accelerator_config.");
  }
}

/// Comes after device: use_cpu is device: cpu.
inline void read_use_cpu(Arguments& a, const Setting& s, std::string_view key) {
  if (!io::flag_of(s, key)) return;
  if (a.device == "cuda") fail(s.origin, ": use_cpu: true contradicts device: cuda: keep one");
  a.device = "cpu";
}

/// Comes after train_sampling_strategy, which has taken its place.
inline void read_group_by_length(Arguments& a, const Setting& s, std::string_view key) {
  if (!io::flag_of(s, key)) return;
  if (a.given.contains("train_sampling_strategy") && a.train_sampling_strategy != "group_by_length")
    fail(s.origin, ": group_by_length: true contradicts train_sampling_strategy: ", a.train_sampling_strategy,
         ": keep one");
  a.train_sampling_strategy = "group_by_length";
}

inline void read_resume(Arguments& a, const Setting& s, std::string_view key) {
  const std::string from = io::text_of(s, key);
  const auto flag = io::word_as_flag(from);
  if (!flag && !from.empty()) a.resume_from_checkpoint = from;
  if (flag.value_or(false)) a.resume_from_checkpoint = "true";
}

inline void read_tokens_seen(Arguments& a, const Setting& s, std::string_view key) {
  const std::string word = io::text_of(s, key);
  a.include_num_input_tokens_seen = word == "all" || word == "non_padding" || io::flag_of(s, key);
  if (a.include_num_input_tokens_seen && word != "non_padding")
    a.notes.push_back(cat(key, ": ", word, " counts what non_padding counts: nothing is padded"));
}

inline void read_greater_is_better(Arguments& a, const Setting& s, std::string_view key) {
  a.greater_is_better = io::flag_of(s, key);
}

}  // namespace detail

}  // namespace lamina::train
