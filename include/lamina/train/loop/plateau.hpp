#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>

namespace lamina::train {

/// Settings of reduce_lr_on_plateau, under the names and with the defaults of lr_scheduler_kwargs.
struct PlateauOptions {
  bool seeks_greater = false;  ///< mode: max
  bool relative = true;        ///< threshold_mode: rel
  double factor = 0.1, threshold = 1e-4, min_lr = 0, eps = 1e-8;
  std::int64_t patience = 10, cooldown = 0;
};

/// The learning rate that falls by a factor once more than `patience` evaluations in a row were no better than the
/// best. source  torch.optim.lr_scheduler.ReduceLROnPlateau
class Plateau {
 public:
  Plateau(const PlateauOptions& options, double base)
      : o_(options),
        rate_(base),
        best_(o_.seeks_greater ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity()) {}

  double rate() const { return rate_; }
  /// Takes an evaluation's metric.
  void observe(double metric) {
    if (is_better(metric))
      best_ = metric, bad_ = 0;
    else
      ++bad_;
    if (cooling_ > 0) --cooling_, bad_ = 0;
    if (bad_ <= o_.patience) return;
    const double lower = std::max(rate_ * o_.factor, o_.min_lr);
    if (rate_ - lower > o_.eps) rate_ = lower;
    cooling_ = o_.cooldown;
    bad_ = 0;
  }

 private:
  bool is_better(double metric) const {
    const double gain = o_.seeks_greater ? o_.threshold : -o_.threshold,
                 wanted = o_.relative ? best_ * (1 + gain) : best_ + gain;
    return o_.seeks_greater ? metric > wanted : metric < wanted;
  }

  PlateauOptions o_;
  double rate_, best_;
  std::int64_t bad_ = 0, cooling_ = 0;
};

}  // namespace lamina::train
