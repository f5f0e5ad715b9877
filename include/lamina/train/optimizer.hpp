#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

#include <lamina/compose/weights.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/model/session.hpp>

namespace lamina::train {

/// AdamW on the learning run of a model's weights, fp32 throughout.
///
///     m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2      g = gradient * scale
///     w = w (1 - lr wd) - lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)
///
/// Vectors (norm gains and biases) are not decayed, as Hugging Face's trainer groups them.
/// source      Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2
class Optimizer {
 public:
  explicit Optimizer(std::size_t count) : exp_avg(count, 0.0f), exp_avg_sq(count, 0.0f) {}

  std::vector<float> exp_avg, exp_avg_sq;
  std::int64_t steps = 0;

  template <class W>
  void update(W& weights, const AdamW& o, double scale) {
    ++steps;
    for (const TensorSlot& slot : weights.slots())
      if (slot.learns) update_tensor(weights, slot, o, static_cast<float>(scale));
  }

 private:
  template <class W>
  void update_tensor(W& weights, const TensorSlot& slot, const AdamW& o, float scale) {
    const auto t = static_cast<double>(steps);
    const auto step_size = static_cast<float>(o.learning_rate / (1 - std::pow(o.beta1, t)));
    const auto v_correction = static_cast<float>(std::sqrt(1 - std::pow(o.beta2, t)));
    const float decay = slot.spec.rank > 1 ? static_cast<float>(1 - o.learning_rate * o.weight_decay) : 1.0f;
    const auto b1 = static_cast<float>(o.beta1), b2 = static_cast<float>(o.beta2), eps = static_cast<float>(o.epsilon);
    const auto rest1 = static_cast<float>(1 - o.beta1), rest2 = static_cast<float>(1 - o.beta2);
    float* w = weights.values().data() + slot.offset;
    float* g = weights.gradients().data() + slot.offset;
    float *m = exp_avg.data() + slot.offset, *v = exp_avg_sq.data() + slot.offset;
    constexpr std::int64_t block = 1 << 14;
    const std::int64_t count = slot.spec.count();
    parallel_for((count + block - 1) / block, [=](std::int64_t b) {
      for (std::int64_t i = b * block; i < std::min(count, (b + 1) * block); ++i) {
        const float grad = g[i] * scale;
        m[i] = b1 * m[i] + rest1 * grad;
        v[i] = b2 * v[i] + rest2 * grad * grad;
        w[i] = w[i] * decay - step_size * m[i] / (std::sqrt(v[i]) / v_correction + eps);
        g[i] = 0;
      }
    });
  }
};

/// L2 norm of all gradients, summed in double in a fixed order.
template <class W>
double gradient_norm(W& weights) {
  double sum_sq = 0;
  for (const float g : weights.gradients()) sum_sq += static_cast<double>(g) * static_cast<double>(g);
  return std::sqrt(sum_sq);
}

}  // namespace lamina::train
