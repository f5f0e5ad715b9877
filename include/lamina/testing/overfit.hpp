#pragma once
#include <vector>

#include <lamina/train/step.hpp>
#include <lamina/train/step/optimizer.hpp>

namespace lamina::testing {

/// The first thing to ask of a new model: can it learn one batch by heart? Takes `steps` steps of AdamW on it and
/// returns the loss before each of them.
template <class Model>
std::vector<double> overfit(Weights<Model, float>& weights, const Batch& batch, int image_token, int steps,
                            const OptimizerSettings& settings) {
  train::Step<Model> step;
  train::Optimizer<> optimizer(weights);
  std::vector<double> losses(static_cast<std::size_t>(steps));
  for (double& loss : losses) {
    loss = step.accumulate(weights, batch, image_token, 0).loss;
    optimizer.step(weights, settings, 0, {});
  }
  return losses;
}

}  // namespace lamina::testing
