#pragma once
#include <cmath>

#include <lamina/core/backend.hpp>
#include <lamina/kernel/optimizer/optimizer.hpp>

/// The equations of optimizers that treat every value alike: of one value, or of an array of neighbours. g is the
/// clipped gradient, rate the learning rate of these values over that of the others, kept = 1 - learning rate * decay.
#if defined(__CUDACC__)  // Eigen's arrays are for the host alone, as are the instances for them
#pragma nv_diagnostic push
#pragma nv_diag_suppress 20011, 20014
#endif
namespace lamina::kernel {

LAMINA_HD inline float sign(float x) { return static_cast<float>(x > 0) - static_cast<float>(x < 0); }

/// source      Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2
struct AdamWRule {
  static constexpr int moments = 2;
  LAMINA_HD static void update(auto& w, const auto& g, auto& m, auto& v, const OptimizerNumbers& o, float rate,
                               float kept) {
    using std::sqrt;
    m = o.b1 * m + o.rest1 * g;
    v = o.b2 * v + o.rest2 * g * g;
    w = w * kept - rate * o.step_size * m / (sqrt(v) / o.v_correction + o.eps);
  }
};

/// source      Chen et al. 2023, arXiv:2302.06675, algorithm 2
struct LionRule {
  static constexpr int moments = 1;
  LAMINA_HD static void update(auto& w, const auto& g, auto& m, auto&, const OptimizerNumbers& o, float rate,
                               float kept) {
    w = w * kept - rate * o.step_size * sign(o.b1 * m + o.rest1 * g);
    m = o.b2 * m + o.rest2 * g;
  }
};

struct SGDRule {
  static constexpr int moments = 0;
  LAMINA_HD static void update(auto& w, const auto& g, auto&, auto&, const OptimizerNumbers& o, float rate,
                               float kept) {
    w = w * kept - rate * o.step_size * g;
  }
};

/// b1 is the momentum, rest1 what the gradient is multiplied by on its way into it, b2 of Nesterov 1, else 0; 1 - kept
/// is rate * decay, without the learning rate. source      Sutskever et al. 2013, section 2; torch, optim/sgd.py
struct SGDMomentumRule {
  static constexpr int moments = 1;
  LAMINA_HD static void update(auto& w, const auto& g, auto& m, auto&, const OptimizerNumbers& o, float rate,
                               float kept) {
    const float decay = (1 - kept) / rate;
    m = o.b1 * m + o.rest1 * (g + decay * w);
    w = w - rate * o.step_size * (o.b2 * (g + decay * w) + (o.b2 * o.b1 + 1 - o.b2) * m);
  }
};

/// Calls f(Rule{}) with the rule of a kind; that of adafactor for gradients that were preconditioned is sgd's, that of
/// muon is for what it has no matrices of.
void with_rule(OptimizerKind kind, auto f) {
  switch (kind) {
    case OptimizerKind::adamw:
    case OptimizerKind::adamw_8bit:
    case OptimizerKind::muon:
      return f(AdamWRule{});
    case OptimizerKind::lion:
    case OptimizerKind::lion_8bit:
      return f(LionRule{});
    case OptimizerKind::sgd_momentum:
      return f(SGDMomentumRule{});
    case OptimizerKind::sgd:
    case OptimizerKind::adafactor:
      return f(SGDRule{});
  }
}

}  // namespace lamina::kernel
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif
