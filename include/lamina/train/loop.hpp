#pragma once
#include <array>
#include <chrono>
#include <cmath>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <string>

#include <lamina/io/program/interrupt.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/parallel/group.hpp>
#include <lamina/train/arguments.hpp>
#include <lamina/train/loop/evaluate.hpp>
#include <lamina/train/loop/resume_notes.hpp>
#include <lamina/train/loop/resume_state.hpp>
#include <lamina/train/loop/same_weights.hpp>
#include <lamina/train/report/progress.hpp>
#include <lamina/train/report/trackers.hpp>
#include <lamina/train/save/checkpoints.hpp>
#include <lamina/train/step/source.hpp>

namespace lamina::train {

/// What a run works with. Everything outlives the trainer.
struct TrainerParts {
  TrainSession& session;
  TrainSource& train;
  std::vector<EvalPart> evaluations = {};  ///< each is evaluated by itself; empty: no evaluation
  Console& console;
  /// Writes adapter or model, tokenizer, processor and model card into a directory.
  std::function<void(const std::filesystem::path&, const OrderedJson& log_history)> save_model;
  double flops_per_token = 0;    ///< 6 * (parameters that are not embeddings), as transformers counts
  Trackers* trackers = nullptr;  ///< null: values go to trainer_log.jsonl and the console alone
  /// The ranks that share each step; the session and the sources know it too. The first alone writes files.
  parallel::Group& group = parallel::alone();
};

enum class Ending { finished, stopped_early, interrupted };

struct TrainingResult {
  Ending ending = Ending::finished;
  TrainerState state;
  OrderedJson metrics;               ///< train_results.json; empty after an interruption
  std::filesystem::path checkpoint;  ///< interrupted: where to resume from
};

/// The training loop: windows in, optimizer steps, and the events between them. The order inside a step is that of
/// transformers' Trainer: clip, optimizer, schedule, log, evaluate, save.
class Trainer {
 public:
  Trainer(const Arguments& arguments, TrainerParts parts)
      : a_(arguments),
        parts_(std::move(parts)),
        plan_(count_steps(a_, parts_.train.rows(), parts_.group.size())),
        schedule_(a_.schedule, a_.optimizer.learning_rate, plan_.total_steps) {
    if (a_.schedule.type == ScheduleType::reduce_lr_on_plateau)
      plateau_.emplace(a_.schedule.plateau, a_.optimizer.learning_rate);
    state_.max_steps = plan_.total_steps;
    state_.num_train_epochs = plan_.epochs;
    state_.logging_steps = steps_of(a_.logging_steps, plan_.total_steps);
    state_.save_steps = steps_of(a_.save_steps, plan_.total_steps);
    if (a_.eval_steps || a_.eval_strategy == Interval::steps)
      state_.eval_steps = steps_of(a_.eval_steps.value_or(a_.logging_steps), plan_.total_steps);
    state_.train_batch_size = a_.per_device_train_batch_size;
    state_.early_stopping_steps = a_.early_stopping_steps;
    position_.seed = a_.seed;
    position_.data_seed = a_.data_seed.value_or(a_.seed);
    position_.micro_batch_rows = a_.per_device_train_batch_size;
    position_.accumulation = a_.gradient_accumulation_steps;
    position_.ranks = parts_.group.size();
  }

  const StepCounts& plan() const { return plan_; }
  const TrainerState& state() const { return state_; }

  /// Takes weights, optimizer, schedule and position from a checkpoint; says what it cannot take.
  void resume(const std::filesystem::path& from);
  /// Trains to the end, or until Ctrl-C. Error on a loss that is not finite: nothing is saved after it.
  TrainingResult run();

 private:
  void print_banner();
  void fetch(std::int64_t step);
  void start_step(std::int64_t step);
  bool may_start_ahead(bool stop_requested) const;
  void train_step();
  /// What the ranks found in a step, together.
  struct Shared {
    double loss = 0, tokens = 0;
  };
  Shared share(const Window&, const BatchLoss&);
  /// Whether the run is to stop, which all ranks learn by the same step.
  bool stop_requested() const;
  double rate(std::int64_t step) const { return plateau_ ? plateau_->rate() : schedule_.rate(step); }
  void check_finite(const Window&, const BatchLoss&, double shared_loss, double gradient_norm) const;
  void after_step(bool stop_requested);
  void log_loss(double gradient_norm, double rate);
  void log(OrderedJson entry, double samples_per_second = 0);
  double samples_per_second();
  void evaluate();
  void judge(double metric);
  void save();
  bool due(Interval interval, std::int64_t every) const { return due(interval, every, state_.global_step); }
  bool due(Interval interval, std::int64_t every, std::int64_t step) const;
  bool evaluation_due(std::int64_t step) const;
  bool save_due(std::int64_t step) const;
  void finish(TrainingResult&);
  Progress progress() const;
  double elapsed_s() const;

  /// A step's window, which the session has prepared, or why there is none.
  struct Upcoming {
    Window window;
    std::exception_ptr failure;
  };

  const Arguments& a_;
  TrainerParts parts_;
  StepCounts plan_;
  Schedule schedule_;
  std::optional<Plateau> plateau_;  // of reduce_lr_on_plateau
  TrainerState state_;
  RunPosition position_;
  std::optional<TrainerLog> log_file_;
  std::deque<Window> under_way_;  // of steps that were started and are not finished
  std::optional<Upcoming> upcoming_;
  Progress logged_;  // at the last log of the loss
  std::int64_t first_step_ = 0, saved_step_ = -1, tokens_ = 0;
  bool stop_shared_ = false;  // some rank was asked to stop
  double last_loss_ = std::numeric_limits<double>::quiet_NaN(), last_norm_ = 0, last_rate_ = 0;
  bool is_new_best_ = false;
  std::set<std::string> warned_;  // each warning is said once, the first 20 of them
  std::chrono::steady_clock::time_point start_;
};

}  // namespace lamina::train

#include <lamina/train/loop/events.hpp>
#include <lamina/train/loop/steps.hpp>
