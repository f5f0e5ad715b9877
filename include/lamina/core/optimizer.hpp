#pragma once

namespace lamina {

/// The rule by which gradients change what is trained. Those with 8 bits keep their moments as bitsandbytes does.
enum class OptimizerKind { adamw, sgd, sgd_momentum, lion, adafactor, adamw_8bit, lion_8bit, muon };

/// Whether ranks may share the work: the rule looks at single values, and its state is fp32.
constexpr bool is_shareable(OptimizerKind kind) {
  return kind == OptimizerKind::adamw || kind == OptimizerKind::sgd || kind == OptimizerKind::sgd_momentum ||
         kind == OptimizerKind::lion;
}

/// Whether beta1 and beta2 count.
constexpr bool has_betas(OptimizerKind kind) {
  return kind != OptimizerKind::sgd && kind != OptimizerKind::sgd_momentum && kind != OptimizerKind::adafactor;
}

/// The optimizer's numbers for one step. Weight decay is decoupled; sgd_momentum adds it to the gradient. sgd and
/// adafactor have no use for betas, adafactor and lion none for epsilon; the last line is for sgd_momentum alone.
struct OptimizerSettings {
  double learning_rate = 5e-5, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  double momentum = 0, dampening = 0;
  bool nesterov = false;
};

}  // namespace lamina
