#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <lamina/core/batch.hpp>

namespace lamina::train {

/// Micro-batches packed into one run of tokens. For training, one accumulation window of M micro-batches, each label
/// weighing 1 / (labels of its micro-batch * M); for evaluation, one batch, each label weighing 1 / labels.
struct Window {
  Batch batch;
  std::vector<std::string> origins;   ///< (S) where each sequence comes from: "mllm_demo.json row 3"
  std::vector<std::string> warnings;  ///< what the user should know about these rows
  std::optional<double> epoch = {};   ///< after this window, if rows are streamed; else it follows from their number
};

/// The training rows in their shuffled order. The order is a function of (seed, epoch), so that a position is enough
/// to resume.
class TrainSource {
 public:
  virtual ~TrainSource() = default;
  virtual std::int64_t rows() const = 0;
  /// Moves to a window (0-based) of an epoch (0-based), without reading the windows before it.
  virtual void seek(std::int64_t epoch, std::int64_t window) = 0;
  /// The next window of the epoch.
  virtual Window next() = 0;
  /// Takes a window that is used up: its memory may serve one to come.
  virtual void give_back(Window) {}
};

/// The evaluation rows in their own order, per_device_eval_batch_size to a batch.
class EvalSource {
 public:
  virtual ~EvalSource() = default;
  virtual std::int64_t rows() const = 0;
  virtual std::int64_t batches() const = 0;
  virtual Window batch(std::int64_t index) = 0;
};

}  // namespace lamina::train
