#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/data/order/epoch_sampler.hpp>
#include <lamina/io/nearest_word.hpp>
#include <lamina/train/loop/plateau.hpp>

namespace lamina::train {

/// Learning-rate schedules by transformers' names.
enum class ScheduleType {
  linear,
  cosine,
  cosine_with_restarts,
  polynomial,
  constant,
  constant_with_warmup,
  inverse_sqrt,
  cosine_with_min_lr,
  cosine_warmup_with_min_lr,
  warmup_stable_decay,
  reduce_lr_on_plateau,
};

inline const std::vector<std::string_view>& schedule_names() {
  static const std::vector<std::string_view> names = {"linear",
                                                      "cosine",
                                                      "cosine_with_restarts",
                                                      "polynomial",
                                                      "constant",
                                                      "constant_with_warmup",
                                                      "inverse_sqrt",
                                                      "cosine_with_min_lr",
                                                      "cosine_warmup_with_min_lr",
                                                      "warmup_stable_decay",
                                                      "reduce_lr_on_plateau"};
  return names;
}

/// The schedule of that name; Error with the nearest one if there is none.
inline ScheduleType schedule_type(std::string_view name) {
  const auto& names = schedule_names();
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end())
    fail("lr_scheduler_type: ", name, " is not built, wanted one of ", io::listed(names),
         io::did_you_mean(name, names));
  return static_cast<ScheduleType>(at - names.begin());
}

/// The shape of a warm-up or a decay of warmup_stable_decay.
enum class Ramp { linear, cosine, one_minus_sqrt };

/// Type, warm-up, and what lr_scheduler_kwargs may hold.
struct ScheduleOptions {
  ScheduleType type = ScheduleType::linear;
  double warmup_steps = 0;  ///< from 1 a number of steps, below 1 a ratio of all steps
  std::optional<double> num_cycles, power, lr_end, min_lr, min_lr_rate, warmup_lr_rate, timescale, num_stable_steps,
      num_decay_steps;
  double min_lr_ratio = 0;  ///< of warmup_stable_decay
  Ramp warmup_type = Ramp::linear, decay_type = Ramp::cosine;
  PlateauOptions plateau;
};

/// Steps of warm-up of a run of total_steps: ceil(total * ratio), or the fixed number.
/// source  transformers 5.6, TrainingArguments.get_warmup_steps
inline std::int64_t warmup_steps(const ScheduleOptions& o, std::int64_t total_steps) {
  if (o.warmup_steps >= 1) return static_cast<std::int64_t>(o.warmup_steps);
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(total_steps) * o.warmup_steps));
}

/// The learning rate of each step, as transformers' get_scheduler computes it:
///
///     rate(s) = base * factor(s),   s = 0-based index of the optimizer step
///     s < W:  factor = s / max(1, W)          (so the first step of a run with warm-up has rate 0)
///
/// reduce_lr_on_plateau has a factor of 1: Plateau follows the evaluations.
///
/// source   transformers' optimization.py; LLaMA-Factory fills in warmup_stable_decay's lengths: a third of what is
///          left after the warm-up is stable, the rest decays
class Schedule {
 public:
  Schedule(const ScheduleOptions& options, double base, std::int64_t total_steps)
      : o_(options), base_(base), total_(static_cast<double>(total_steps)) {
    warmup_ = static_cast<double>(train::warmup_steps(options, total_steps));
    stable_ = o_.num_stable_steps.value_or(std::floor((total_ - warmup_) / 3));
    decay_ = o_.num_decay_steps.value_or(total_ - warmup_ - stable_);
  }

  /// The learning rate of the step with this 0-based index.
  double rate(std::int64_t step) const { return base_ * factor(static_cast<double>(step)); }
  std::int64_t warmup() const { return static_cast<std::int64_t>(warmup_); }

 private:
  double factor(double s) const {
    if (o_.type == ScheduleType::constant || o_.type == ScheduleType::reduce_lr_on_plateau) return 1;
    if (o_.type == ScheduleType::warmup_stable_decay) return stable_decay(s);
    if (o_.type == ScheduleType::cosine_warmup_with_min_lr) return warm_cosine(s);
    if (s < warmup_) return s / std::max(1.0, warmup_);
    const double progress = (s - warmup_) / std::max(1.0, total_ - warmup_);
    switch (o_.type) {
      case ScheduleType::linear:
        return std::max(0.0, (total_ - s) / std::max(1.0, total_ - warmup_));
      case ScheduleType::cosine:
        return std::max(0.0, wave(o_.num_cycles.value_or(0.5) * 2 * progress));
      case ScheduleType::cosine_with_restarts:
        return progress >= 1 ? 0 : wave(std::fmod(o_.num_cycles.value_or(1) * progress, 1.0));
      case ScheduleType::polynomial:
        return polynomial(s);
      case ScheduleType::inverse_sqrt: {
        const double scale = o_.timescale.value_or(warmup_ > 0 ? warmup_ : 10'000);
        return 1 / std::sqrt((s + scale - warmup_) / scale);
      }
      case ScheduleType::cosine_with_min_lr:
        return std::max(0.0, wave(o_.num_cycles.value_or(0.5) * 2 * progress) * (1 - floor()) + floor());
      default:
        return 1;
    }
  }

  static double wave(double turns) { return 0.5 * (1 + std::cos(std::numbers::pi * turns)); }
  /// The least factor of schedules that have one.
  double floor() const { return o_.min_lr ? *o_.min_lr / base_ : o_.min_lr_rate.value_or(0); }

  /// cosine_with_min_lr a step ahead, so that the first step of a warm-up has a rate: 1 / W of the base, or the given.
  double warm_cosine(double s) const {
    if (s < warmup_) {
      const double first = o_.warmup_lr_rate.value_or(0);
      return o_.warmup_lr_rate ? first + (1 - first) * s / std::max(1.0, warmup_ - 1)
                               : (s + 1) / std::max(1.0, warmup_);
    }
    const double progress = (s - warmup_ + 1) / std::max(1.0, total_ - warmup_);
    return std::max(0.0, wave(o_.num_cycles.value_or(0.5) * 2 * progress) * (1 - floor()) + floor());
  }

  double polynomial(double s) const {
    const double end = o_.lr_end.value_or(1e-7);
    if (s > total_ || total_ <= warmup_) return end / base_;
    const double left = 1 - (s - warmup_) / (total_ - warmup_);
    return ((base_ - end) * std::pow(left, o_.power.value_or(1)) + end) / base_;
  }

  double stable_decay(double s) const {
    const double floor = o_.min_lr_ratio;
    if (s < warmup_) {
      const double p = s / std::max(1.0, warmup_);
      const double f = o_.warmup_type == Ramp::linear   ? p
                       : o_.warmup_type == Ramp::cosine ? 0.5 * (1 - std::cos(std::numbers::pi * p))
                                                        : 1 - std::sqrt(1 - p);
      return std::max(0.0, f * (1 - floor) + floor);
    }
    if (s < warmup_ + stable_) return 1;
    if (s >= warmup_ + stable_ + decay_) return floor;
    const double p = (s - warmup_ - stable_) / std::max(1.0, decay_);
    const double f = o_.decay_type == Ramp::linear ? 1 - p
                     : o_.decay_type == Ramp::cosine
                         ? 0.5 * (1 + std::cos(std::numbers::pi * o_.num_cycles.value_or(0.5) * 2 * p))
                         : 1 - std::sqrt(p);
    return std::max(0.0, f * (1 - floor) + floor);
  }

  ScheduleOptions o_;
  double base_, total_, warmup_ = 0, stable_ = 0, decay_ = 0;
};

/// The arithmetic of a run: rows to batches to accumulation windows (= optimizer steps) to epochs.
struct StepCounts {
  std::int64_t rows = 0;             ///< N
  std::int64_t batches = 0;          ///< micro-batches of an epoch: ceil(N / B); floor with drop_last
  std::int64_t accumulation = 1;     ///< micro-batches of a window; the last window of an epoch may hold fewer
  std::int64_t steps_per_epoch = 0;  ///< ceil(batches / accumulation)
  std::int64_t total_steps = 0;      ///< ceil(epochs * steps_per_epoch), or max_steps
  std::int64_t epochs = 0;           ///< epochs begun

  /// Micro-batches of the window with this 0-based index in its epoch.
  std::int64_t micro_batches(std::int64_t window) const {
    return std::min(accumulation, batches - window * accumulation);
  }
  /// The epoch as the logs have it, after `step` optimizer steps: whole epochs plus the share of micro-batches done.
  double epoch_at(std::int64_t step) const {
    const std::int64_t whole = step / steps_per_epoch, rest = step % steps_per_epoch;
    return static_cast<double>(whole) +
           static_cast<double>(std::min(rest * accumulation, batches)) / static_cast<double>(batches);
  }
};

/// source  transformers' Trainer: set_initial_training_values
inline StepCounts count_steps(std::int64_t rows, int batch_size, int accumulation, double epochs,
                              std::int64_t max_steps, bool drop_last = false) {
  StepCounts plan;
  plan.rows = rows;
  plan.accumulation = accumulation;
  if (rows < 1) fail("training: the dataset has no rows, wanted at least one");
  plan.batches = data::batches_of(rows, batch_size, drop_last);
  plan.steps_per_epoch = (plan.batches + accumulation - 1) / accumulation;
  if (max_steps > 0) {
    plan.total_steps = max_steps;
    plan.epochs = (max_steps + plan.steps_per_epoch - 1) / plan.steps_per_epoch;
  } else {
    plan.total_steps = static_cast<std::int64_t>(std::ceil(epochs * static_cast<double>(plan.steps_per_epoch)));
    plan.epochs = static_cast<std::int64_t>(std::ceil(epochs));
  }
  return plan;
}

/// A setting in steps: at least 1 it is a count, below 1 a fraction of all steps, rounded up.
inline std::int64_t steps_of(double setting, std::int64_t total_steps) {
  if (setting >= 1) return static_cast<std::int64_t>(setting);
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(setting * static_cast<double>(total_steps))));
}

}  // namespace lamina::train
