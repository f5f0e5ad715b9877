#pragma once
#include <string_view>

#include <lamina/train/report/log.hpp>

namespace lamina::train {

/// Receives a run's values, in addition to the run's own files. If a call throws, the tracker is not used again.
class Tracker {
 public:
  virtual ~Tracker() = default;
  /// As report_to spells it.
  virtual std::string_view name() const = 0;
  /// An entry of log_history.
  virtual void log(const OrderedJson& entry) = 0;
  /// The run has ended: as planned, or stopped before.
  virtual void finish(bool completed) = 0;
};

}  // namespace lamina::train
