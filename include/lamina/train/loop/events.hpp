#pragma once
#include <utility>

#include <lamina/train/loop.hpp>

/// Trainer: what happens between steps.
namespace lamina::train {

/// True if an event is due after a step. An epoch also ends where the run does.
inline bool Trainer::due(Interval interval, std::int64_t every, std::int64_t step) const {
  if (interval == Interval::steps) return step % every == 0;
  return interval == Interval::epoch && (step == plan_.total_steps || step % plan_.steps_per_epoch == 0);
}
/// The last step of a run is evaluated even if eval_steps does not divide it.
/// source  transformers 5.6, DefaultFlowCallback
inline bool Trainer::evaluation_due(std::int64_t step) const {
  const bool by_steps = a_.eval_strategy == Interval::steps;
  const double delay_reached = by_steps ? static_cast<double>(step) : plan_.epoch_at(step);
  const bool due_now = due(a_.eval_strategy, state_.eval_steps, step) || (by_steps && step == plan_.total_steps);
  return !parts_.evaluations.empty() && due_now && a_.eval_delay <= delay_reached;
}
/// Not asked after an evaluation: that one may find that the model is the best.
inline bool Trainer::save_due(std::int64_t step) const {
  return due(a_.save_strategy, state_.save_steps, step) ||
         (a_.save_strategy == Interval::steps && step == plan_.total_steps);
}

inline void Trainer::after_step(bool stop_requested) {
  const std::int64_t step = state_.global_step;
  parts_.console.step(progress(), last_loss_);
  if (due(a_.logging_strategy, state_.logging_steps) || (a_.logging_first_step && step == 1))
    log_loss(last_norm_, last_rate_);
  is_new_best_ = false;
  if (evaluation_due(step)) evaluate();
  if (save_due(step) || (a_.save_strategy == Interval::best && is_new_best_) || stop_requested) save();
}

inline void Trainer::log_loss(double gradient_norm, double rate) {
  if (position_.steps_since_log == 0) return;
  OrderedJson entry = {{"loss", position_.loss_since_log / static_cast<double>(position_.steps_since_log)},
                       {"grad_norm", gradient_norm},
                       {"learning_rate", rate}};
  std::exchange(position_.metrics_since_log, {}).write_to(entry);
  entry["epoch"] = state_.epoch;
  position_.loss_since_log = 0;
  position_.steps_since_log = 0;
  if (a_.include_num_input_tokens_seen) {
    entry["train_runtime"] = rounded(elapsed_s(), 4);
    entry["train_tokens_per_second"] = rounded(static_cast<double>(tokens_) / elapsed_s(), 3);
  }
  log(std::move(entry), samples_per_second());
}

/// Of full steps since the last log of the loss; evaluations and saves between them count as time. A host has computed
/// a step when it was started, which may be before the one ahead of it is logged. 0: none was computed since.
inline double Trainer::samples_per_second() {
  Progress at = progress();
  if (!parts_.session.on_device()) at.step += static_cast<std::int64_t>(under_way_.size());
  if (at.step == logged_.step) return 0;
  const Progress before = std::exchange(logged_, at);
  const double rows =
      static_cast<double>(a_.per_device_train_batch_size) * a_.gradient_accumulation_steps * parts_.group.size();
  return static_cast<double>(at.step - before.step) * rows / (at.elapsed_s - before.elapsed_s);
}

/// Into log_history, trainer_log.jsonl, the console and trackers.
inline void Trainer::log(OrderedJson entry, double samples_per_second) {
  if (a_.include_num_input_tokens_seen) entry["num_input_tokens_seen"] = state_.num_input_tokens_seen;
  entry["step"] = state_.global_step;
  Progress at = progress();
  at.samples_per_s = samples_per_second;
  at.memory_bytes = parts_.session.memory_bytes();
  state_.log_history.push_back(entry);
  if (log_file_) log_file_->write(entry, at, {.seen = state_.num_input_tokens_seen, .in_process = tokens_});
  parts_.console.event(entry, at);
  if (parts_.trackers) parts_.trackers->log(entry);
}

inline void Trainer::evaluate() {
  OrderedJson all;
  for (const EvalPart& part : parts_.evaluations) {
    OrderedJson metrics = evaluate_all(parts_.session, part, parts_.group);
    all.update(metrics);
    metrics["epoch"] = state_.epoch;
    log(std::move(metrics));
  }
  if (plateau_) plateau_->observe(all.at(a_.best_metric()).get<double>());
  if (a_.seeks_best()) judge(all.at(a_.best_metric()).get<double>());
}

/// Keeps the best evaluation, and stops when early_stopping_steps evaluations brought no better one.
inline void Trainer::judge(double metric) {
  const bool better =
      !state_.best_metric || (a_.greater_is_better ? metric > *state_.best_metric : metric < *state_.best_metric);
  if (better) {
    state_.best_metric = metric;
    state_.best_global_step = state_.global_step;
    is_new_best_ = true;
    state_.evaluations_without_gain = 0;
  } else if (a_.early_stopping_steps && ++state_.evaluations_without_gain >= *a_.early_stopping_steps) {
    state_.should_training_stop = true;
    parts_.console.line(cat("Early stop after step ", state_.global_step, ": ", state_.evaluations_without_gain,
                            " evaluations without a better ", a_.best_metric(), " than ", *state_.best_metric));
  }
}

inline void Trainer::save() {
  if (saved_step_ == state_.global_step) return;
  saved_step_ = state_.global_step;
  require_same_weights(parts_.session, parts_.group);
  parts_.session.gather_state();
  if (!parts_.group.first()) return;
  const std::filesystem::path target = a_.output_dir / cat("checkpoint-", state_.global_step);
  StagedDirectory staged(target);
  parts_.save_model(staged.path(), state_.log_history);
  if (!a_.save_only_model) {
    write_optimizer(staged.path(), parts_.session, a_.finetuning_type != "lora");
    write_scheduler(staged.path(), a_.schedule, schedule_, a_.optimizer.learning_rate, rate(state_.global_step),
                    state_.global_step, plan_.total_steps);
    write_position(staged.path(), position_);
  }
  if (state_.best_global_step) {
    const auto best = a_.output_dir / cat("checkpoint-", *state_.best_global_step);
    if (best == target || std::filesystem::exists(best)) state_.best_model_checkpoint = best.string();
  }
  TrainerState written = state_;
  written.should_save = true;
  written.should_training_stop = state_.should_training_stop || state_.global_step == plan_.total_steps;
  io::write_text(staged.path() / "trainer_state.json", to_text(written));
  staged.commit();
  if (a_.save_total_limit)
    rotate_checkpoints(a_.output_dir, *a_.save_total_limit, state_.best_model_checkpoint, target);
}

}  // namespace lamina::train
