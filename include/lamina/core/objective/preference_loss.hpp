#pragma once

namespace lamina {

/// What a sequence of preference data is: an answer that is preferred or desirable, one that is not, or an answer to
/// another prompt, by which stage kto measures how far the model has moved.
enum class SequenceRole : int { chosen, rejected, baseline };

/// What answers add to the loss, by log p(answer | prompt) of the model, l, and of the reference, the model as it was
/// before it learned. c and r stand for the chosen and the rejected answer; s is the logistic function.
///
///     h = (l_c - l_r) - (reference's l_c - l_r)
///     sigmoid   -(1 - e) log s(beta h) - e log s(-beta h),   e = label_smoothing
///     hinge     max(0, 1 - beta h)
///     ipo       (h - 1 / (2 beta))^2
///     orpo      -l_c - beta log s(log odds_c - log odds_r),   log odds = l - log(1 - exp l)
///     simpo     -log s(beta (l_c - l_r) - simpo_gamma)
///     kto       chosen_weight (1 - s(beta (h - kl))) or rejected_weight (1 - s(beta (kl - h))),
///               h = l - reference's l, kl = max(0, mean of h over the micro-batch's baseline sequences)
///
/// For ipo, orpo and simpo l is the mean over the answer's tokens, else their sum. ftx times the mean nll of the chosen
/// answer's tokens is added; for kto, whose loss is a mean over a answers of which c are chosen, times (a / c)^2, as
/// LLaMA-Factory has it.
/// source  Rafailov et al. 2023, arXiv:2305.18290; Zhao et al. 2023, arXiv:2305.10425; Azar et al. 2023,
///         arXiv:2310.12036; Hong et al. 2024, arXiv:2403.07691; Meng et al. 2024, arXiv:2405.14734; Ethayarajh et al.
///         2024, arXiv:2402.01306; LLaMA-Factory 0.9.5, train/dpo/trainer.py and train/kto/trainer.py
struct PreferenceLoss {
  enum class Kind { sigmoid, hinge, ipo, orpo, simpo, kto };

  Kind kind = Kind::sigmoid;
  double beta = 0.1, ftx = 0, label_smoothing = 0, simpo_gamma = 0.5;
  double chosen_weight = 1, rejected_weight = 1;  ///< of kto

  constexpr bool has_reference() const { return kind != Kind::orpo && kind != Kind::simpo; }
  /// Whether l is a mean over tokens.
  constexpr bool averages() const { return kind == Kind::ipo || kind == Kind::orpo || kind == Kind::simpo; }
};

}  // namespace lamina
