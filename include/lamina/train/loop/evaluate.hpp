#pragma once
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>

#include <lamina/model/train_session.hpp>
#include <lamina/parallel/group.hpp>
#include <lamina/train/report/metric_sums.hpp>
#include <lamina/train/report/results.hpp>
#include <lamina/train/step/source.hpp>

namespace lamina::train {

/// One set of rows to evaluate on. The names of its metrics begin with `prefix`, eval_prefix() of its data set.
struct EvalPart {
  std::string prefix;
  EvalSource& source;
};

/// The loss over all rows of a set: the plain mean of the batches' means, so that a row of a short last batch weighs
/// more. A batch in which nothing is labelled has no mean and is left out. Returns its loss and the speed fields.
/// Ranks take the batches in turn, and all return the same: that of one process but for rounding. accelerate fills up
/// the last batches with the first rows once more, so that there the loss depends on the number of processes (five rows
/// in batches of two: 11.0483 with one, 11.1430 with two); a number that compares models must not.
/// batch_done: called after each batch with the number of batches so far.
/// source  transformers 5.6, Trainer.evaluation_loop
inline OrderedJson evaluate_all(TrainSession& session, const EvalPart& part, parallel::Group& group,
                                const std::function<void(std::int64_t)>& batch_done = {}) {
  const auto start = std::chrono::steady_clock::now();
  EvalSource& source = part.source;
  std::array<double, 2> sums = {};
  auto& [sum, batches] = sums;
  MetricSums found;
  for (std::int64_t i = group.rank(); i < source.batches(); i += group.size()) {
    const Window window = source.batch(i);
    if (batch_done) batch_done(i + 1);
    bool labelled = false;
    for (float weight : window.batch.loss_weights) labelled = labelled || weight != 0;
    if (!labelled) continue;
    BatchLoss loss = session.evaluate(window.batch);
    if (!std::isfinite(loss.loss)) {
      std::string culprit = window.origins.empty() ? std::string() : window.origins.front();
      for (std::size_t s = 0; s < loss.sequence_losses.size() && s < window.origins.size(); ++s)
        if (!std::isfinite(loss.sequence_losses[s])) {
          culprit = window.origins[s];
          break;
        }
      fail("evaluation: the loss of ", culprit, " is ", loss.loss, ": check that row, or lower the learning rate");
    }
    sum += loss.loss;
    found.add(loss.metrics);
    ++batches;
  }
  group.all_reduce(sums);
  found.share(group);
  if (batches == 0)
    fail("evaluation: none of ", source.rows(), " rows has a labelled token: raise cutoff_len, or check the answers");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  OrderedJson metrics = {{part.prefix + "_loss", sum / batches}};
  found.write_to(metrics, part.prefix + "_");
  metrics.update(
      speed_metrics(part.prefix, seconds, static_cast<double>(source.rows()), static_cast<double>(source.batches())));
  return metrics;
}

}  // namespace lamina::train
