#pragma once
#include <string_view>

#include <lamina/train/report/log.hpp>

namespace lamina::train {

/// A place where a run's values go besides its own files. Every call may throw: the tracker is given up then.
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
