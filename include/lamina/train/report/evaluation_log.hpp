#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>

#include <lamina/train/report/log.hpp>

namespace lamina::train {

/// trainer_log.jsonl of a run that evaluates or predicts without training, as LLaMA-Factory writes it: a line every
/// five batches, and one for the result of an evaluation, at step 0.
/// source  LLaMA-Factory, train/callbacks.py, LogCallback
class EvaluationLog {
 public:
  /// Adds to the lines of earlier runs, or, as overwrite_output_dir has it, begins anew.
  EvaluationLog(const std::filesystem::path& output_dir, bool overwrite, std::int64_t batches)
      : log_(output_dir), batches_(batches) {
    if (overwrite) std::filesystem::remove(TrainerLog::path_in(output_dir));
  }

  void batch_done(std::int64_t done) {
    if (done % 5 == 0) log_.write(OrderedJson::object(), at(done), {});
  }
  void result(const OrderedJson& metrics) { log_.write(metrics, at(0), {}); }

 private:
  Progress at(std::int64_t done) const {
    return {.step = done,
            .total_steps = batches_,
            .first_step = 0,
            .elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count()};
  }

  TrainerLog log_;
  std::int64_t batches_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace lamina::train
