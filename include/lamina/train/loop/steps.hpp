#pragma once
#include <lamina/train/loop.hpp>

/// Trainer: resuming, stepping and ending.
namespace lamina::train {

namespace detail {

/// 16,515,072
inline std::string with_thousands(std::int64_t n) {
  const std::string digits = std::to_string(n);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-') out += ',';
    out += digits[i];
  }
  return out;
}

/// The texts that are not empty, with commas.
inline std::string all_but_empty(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts)
    if (!text.empty()) out += (out.empty() ? "" : ", ") + text;
  return out;
}

/// A warning for each way in which a run that goes on draws otherwise than the one that was saved.
inline std::vector<std::string> changed_position(const RunPosition& saved, const RunPosition& now) {
  std::vector<std::string> lines;
  if (saved.data_seed != now.data_seed)
    lines.push_back(cat("warning: the checkpoint drew its rows with seed ", saved.data_seed, ", this run with ",
                        now.data_seed, ": rows come in another order from here on"));
  if (saved.seed != now.seed)
    lines.push_back(cat("warning: the checkpoint was made with seed ", saved.seed, ", this run has ", now.seed,
                        ": lora_dropout draws otherwise from here on"));
  const auto window = [](const RunPosition& p) { return p.micro_batch_rows * p.accumulation * p.ranks; };
  const auto text = [](const RunPosition& p) {
    return cat(p.ranks, " processes with ", p.accumulation, " batches of ", p.micro_batch_rows, " rows");
  };
  if (window(saved) != window(now))
    lines.push_back(cat("warning: the checkpoint was made by ", text(saved), " to a step, this run has ", text(now),
                        ": the step count is kept, the place in the data is recomputed from it"));
  return lines;
}

}  // namespace detail

inline void Trainer::resume(const std::filesystem::path& from) {
  if (const auto reason = broken_reason(from))
    fail("resume_from_checkpoint: ", from.string(),
         std::filesystem::is_directory(from) ? " is not whole: " : " is no folder: ", *reason,
         ": name a checkpoint-N folder, or set it to true for the last one that is whole");
  const TrainerState before = read_trainer_state(from / "trainer_state.json");
  read_weights(from, parts_.session);
  state_.global_step = before.global_step;
  state_.total_flos = before.total_flos;
  state_.num_input_tokens_seen = before.num_input_tokens_seen;
  state_.best_metric = before.best_metric;
  state_.best_global_step = before.best_global_step;
  state_.best_model_checkpoint = before.best_model_checkpoint;
  state_.evaluations_without_gain = before.evaluations_without_gain;
  state_.log_history = before.log_history;
  if (plateau_)
    for (const OrderedJson& entry : before.log_history)
      if (entry.contains(a_.best_metric())) plateau_->observe(entry[a_.best_metric()].get<double>());
  Console& console = parts_.console;
  console.line(
      cat("Resuming from ", from.string(), ": ", before.global_step, " of ", plan_.total_steps, " steps are done"));
  for (const std::string& line : changed_settings(a_.given, from)) console.line(line);
  if (const auto position = read_position(from)) {
    read_optimizer(from, parts_.session);
    parts_.session.set_optimizer_steps(position->optimizer_steps);
    for (const std::string& line : detail::changed_position(*position, position_)) console.line(line);
    position_.loss_sum = position->loss_sum;
    position_.loss_since_log = position->loss_since_log;
    position_.steps_since_log = position->steps_since_log;
    position_.metrics_since_log = position->metrics_since_log;
  } else {
    parts_.session.set_optimizer_steps(0);
    console.line(cat("WARNING: ", from.string(),
                     " holds no optimizer state that lamina reads (save_only_model, or another program): ",
                     "Adam's moments start from zero; the learning rate goes on at step ", before.global_step,
                     " of the schedule"));
  }
  if (before.max_steps != plan_.total_steps)
    console.line(cat("warning: the checkpoint's run had ", before.max_steps, " steps, this one has ", plan_.total_steps,
                     ": the learning rate follows the new number"));
}

inline void Trainer::print_banner() {
  Console& c = parts_.console;
  const std::int64_t batch = a_.per_device_train_batch_size, accumulation = a_.gradient_accumulation_steps;
  c.line("***** Running training *****");
  c.line(cat("  Num examples = ", detail::with_thousands(plan_.rows)));
  c.line(cat("  Num Epochs = ", detail::with_thousands(plan_.epochs)));
  c.line(cat("  Instantaneous batch size per device = ", batch));
  c.line(cat("  Total train batch size (w. parallel, distributed & accumulation) = ",
             detail::with_thousands(batch * accumulation * parts_.group.size())));
  c.line(cat("  Gradient Accumulation steps = ", accumulation));
  c.line(cat("  Total optimization steps = ", detail::with_thousands(plan_.total_steps)));
  c.line(cat("  Number of trainable parameters = ", detail::with_thousands(parts_.session.trainable_count())));
}

inline TrainingResult Trainer::run() {
  io::InterruptGuard interrupt;
  print_banner();
  first_step_ = state_.global_step;
  start_ = std::chrono::steady_clock::now();
  logged_ = progress();
  if (parts_.group.first()) log_file_.emplace(a_.output_dir, first_step_);
  if (a_.eval_on_start && first_step_ == 0) evaluate();
  TrainingResult outcome;
  while (state_.global_step < plan_.total_steps && !state_.should_training_stop) {
    train_step();
    const bool stop = stop_requested() && state_.global_step < plan_.total_steps && under_way_.empty();
    after_step(stop);
    if (stop) {
      outcome.ending = Ending::interrupted;
      outcome.checkpoint = a_.output_dir / cat("checkpoint-", state_.global_step);
      parts_.console.finish();
      parts_.console.line(cat("Interrupted after step ", state_.global_step, " of ", plan_.total_steps,
                              ". To go on: resume_from_checkpoint=", outcome.checkpoint.string()));
      outcome.state = state_;
      return outcome;
    }
  }
  if (state_.global_step < plan_.total_steps) outcome.ending = Ending::stopped_early;
  finish(outcome);
  return outcome;
}

/// Takes a step's window from the source and has the session prepare it. A failure waits until the step is due.
inline void Trainer::fetch(std::int64_t step) {
  Upcoming& next = upcoming_.emplace();
  try {
    const std::int64_t epoch = step / plan_.steps_per_epoch, window = step % plan_.steps_per_epoch;
    if (step == first_step_)
      parts_.train.seek(epoch, a_.ignore_data_skip ? 0 : window);
    else if (window == 0)
      parts_.train.seek(epoch, 0);
    next.window = parts_.train.next();
    parts_.session.prepare(next.window.batch);
  } catch (...) {
    next.failure = std::current_exception();
  }
}

/// Starts the step that was fetched.
inline void Trainer::start_step(std::int64_t step) {
  if (upcoming_->failure) std::rethrow_exception(upcoming_->failure);
  OptimizerSettings settings = a_.optimizer;
  settings.learning_rate = rate(step);
  parts_.session.start(settings, a_.max_grad_norm);
  under_way_.push_back(std::move(upcoming_->window));
  upcoming_.reset();
}

/// Whether the step after the one under way may start before that one has finished: nothing between them looks at the
/// weights.
inline bool Trainer::may_start_ahead(bool stop_requested) const {
  const std::int64_t done = state_.global_step + 1;
  return !stop_requested && upcoming_ && !upcoming_->failure && !evaluation_due(done) && !save_due(done);
}

inline bool Trainer::stop_requested() const {
  return parts_.group.size() == 1 ? io::InterruptGuard::requested() : stop_shared_;
}

inline Trainer::Shared Trainer::share(const Window& window, const BatchLoss& loss) {
  std::array<double, 3> sums = {loss.loss, static_cast<double>(window.batch.ids.size()),
                                io::InterruptGuard::requested() ? 1.0 : 0.0};
  parts_.group.all_reduce(sums);
  stop_shared_ = sums[2] > 0;
  return {sums[0], sums[1]};
}

/// One step. While a GPU works on it, the next one is fetched, prepared and, if nothing comes between, started.
inline void Trainer::train_step() {
  const std::int64_t step = state_.global_step;
  if (under_way_.empty()) {
    if (!upcoming_) fetch(step);
    start_step(step);
    // Once all ranks have started a step, nothing but a process that dies can keep its sum of gradients waiting. Of one
    // that was started ahead, share() of the step before says so.
    if (parts_.session.on_device()) parts_.group.barrier();
    if (step + 1 < plan_.total_steps) fetch(step + 1);
  }
  if (may_start_ahead(stop_requested())) try {
      start_step(step + 1);
    } catch (...) {
      upcoming_.emplace().failure = std::current_exception();
    }
  auto [loss, norm] = parts_.session.finish();
  Window window = std::move(under_way_.front());
  under_way_.pop_front();
  for (const std::string& warning : window.warnings)
    if (warned_.insert(warning).second && warned_.size() <= 20) parts_.console.line("warning: " + warning);
  last_rate_ = rate(step);
  last_norm_ = norm;
  const Shared shared = share(window, loss);
  check_finite(window, loss, shared.loss, last_norm_);
  if (!under_way_.empty() && step + 2 < plan_.total_steps) fetch(step + 2);
  ++state_.global_step;
  state_.epoch = window.epoch.value_or(plan_.epoch_at(state_.global_step));
  const auto tokens = static_cast<std::int64_t>(shared.tokens);
  tokens_ += tokens;
  if (a_.include_num_input_tokens_seen) state_.num_input_tokens_seen += tokens;
  state_.total_flos += parts_.flops_per_token * static_cast<double>(tokens);
  last_loss_ = shared.loss;
  position_.loss_sum += shared.loss;
  position_.loss_since_log += shared.loss;
  ++position_.steps_since_log;
  share_metrics(loss.metrics, parts_.group);
  position_.metrics_since_log.add(loss.metrics);
  position_.epoch = state_.global_step / plan_.steps_per_epoch;
  position_.window = state_.global_step % plan_.steps_per_epoch;
  position_.optimizer_steps = parts_.session.optimizer_steps() - static_cast<std::int64_t>(under_way_.size());
  parts_.train.give_back(std::move(window));
}

inline void Trainer::check_finite(const Window& window, const BatchLoss& loss, double shared_loss,
                                  double gradient_norm) const {
  if (std::isfinite(shared_loss) && std::isfinite(gradient_norm)) return;
  std::string samples;
  for (std::size_t s = 0; s < loss.sequence_losses.size() && s < window.origins.size(); ++s)
    if (!std::isfinite(loss.sequence_losses[s])) samples += (samples.empty() ? "" : ", ") + window.origins[s];
  samples = detail::all_but_empty(parts_.group.all_gather(samples));
  const bool named = !samples.empty();
  if (!named) samples = detail::all_but_empty(parts_.group.all_gather(detail::all_but_empty(window.origins)));
  const auto saved = list_checkpoints(a_.output_dir);
  fail("step ", state_.global_step + 1, ": ",
       std::isfinite(shared_loss) ? cat("the gradient norm is ", gradient_norm) : cat("the loss is ", shared_loss),
       named ? ", from " : ", in a step of ", samples, ". The optimizer step was not taken and nothing was saved over",
       saved.empty() ? "" : cat("; the last checkpoint is ", saved.back().path.string()),
       ". Check that sample, or lower learning_rate");
}

inline void Trainer::finish(TrainingResult& outcome) {
  parts_.console.finish();
  const double seconds = elapsed_s();
  const double samples = a_.max_steps > 0 ? static_cast<double>(a_.max_steps) * a_.per_device_train_batch_size *
                                                a_.gradient_accumulation_steps * parts_.group.size()
                                          : std::floor(static_cast<double>(plan_.rows) * a_.num_train_epochs);
  OrderedJson metrics = speed_metrics("train", seconds, samples, static_cast<double>(plan_.total_steps));
  metrics["total_flos"] = state_.total_flos;
  metrics["train_loss"] = position_.loss_sum / static_cast<double>(std::max<std::int64_t>(1, state_.global_step));
  metrics["epoch"] = state_.epoch;
  if (a_.include_num_input_tokens_seen) metrics["num_input_tokens_seen"] = state_.num_input_tokens_seen;
  log(metrics);
  if (a_.load_best_model_at_end)  // the first rank alone knows where it is
    if (const auto best = parts_.group.broadcast(state_.best_model_checkpoint.value_or("")); !best.empty())
      state_.best_model_checkpoint = best;
  if (a_.load_best_model_at_end && state_.best_model_checkpoint) {
    parts_.console.line(cat("Loading the best model from ", *state_.best_model_checkpoint, " (", a_.best_metric(), ": ",
                            *state_.best_metric, ")."));
    read_weights(*state_.best_model_checkpoint, parts_.session);
  }
  if (a_.include_effective_tokens_per_second && seconds > 0)
    metrics["effective_tokens_per_sec"] = static_cast<double>(tokens_) / seconds;
  outcome.metrics = std::move(metrics);
  outcome.state = state_;
}

inline double Trainer::elapsed_s() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

inline Progress Trainer::progress() const { return {state_.global_step, plan_.total_steps, first_step_, elapsed_s()}; }

}  // namespace lamina::train
