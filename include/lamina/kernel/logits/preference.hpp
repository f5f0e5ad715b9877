#pragma once
#include <cmath>

#include <lamina/core/backend.hpp>
#include <lamina/core/host/device.hpp>
#include <lamina/core/objective/preference_loss.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// From log-probabilities of answers to the weights that head_loss multiplies the gradients of their tokens by.
namespace lamina::kernel {

/// A sequence that is judged, by the labelled rows of its answer, and the group that it is judged in: a pair of
/// neighbours, chosen and rejected; of kto all sequences of a micro-batch.
struct JudgedSequence {
  int first_row = 0, rows = 0;
  int group = 0, group_size = 0;  ///< first sequence of the group, and how many it has
  SequenceRole role = SequenceRole::chosen;
};

/// log p of an answer: the sum over its tokens.
struct AnswerScore {
  double model = 0, reference = 0;
};

/// Of an answer, by -log p of its tokens; reference may be null.
inline AnswerScore score_of(const JudgedSequence& answer, const float* nll, const float* reference) {
  AnswerScore score;
  for (int m = answer.first_row; m < answer.first_row + answer.rows; ++m) {
    score.model -= static_cast<double>(nll[m]);
    if (reference) score.reference -= static_cast<double>(reference[m]);
  }
  return score;
}

/// What one sequence adds to its group's loss, and the derivative by the sum of its tokens' log p.
struct AnswerLoss {
  double loss = 0, slope = 0;
};

namespace detail {

LAMINA_HD inline double log_sigmoid(double x) { return x < 0 ? x - log1p(exp(x)) : -log1p(exp(-x)); }
LAMINA_HD inline double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }

/// Of a pair: its loss, and the derivatives by l of either answer.
struct PairLoss {
  double loss = 0, chosen = 0, rejected = 0;
};
LAMINA_HD inline PairLoss pair_loss(const PreferenceLoss& how, const AnswerScore& c, const AnswerScore& r) {
  const double h = (c.model - r.model) - (c.reference - r.reference), z = how.beta * h, e = how.label_smoothing;
  switch (how.kind) {
    case PreferenceLoss::Kind::hinge:
      return z < 1 ? PairLoss{1 - z, -how.beta, how.beta} : PairLoss{};
    case PreferenceLoss::Kind::ipo: {
      const double off = h - 1 / (2 * how.beta);
      return {off * off, 2 * off, -2 * off};
    }
    case PreferenceLoss::Kind::orpo: {
      const double chosen_left = -expm1(c.model), rejected_left = -expm1(r.model);  // 1 - p
      const double odds = (c.model - r.model) - (log(chosen_left) - log(rejected_left));
      const double slope = how.beta * sigmoid(-odds);
      return {-c.model - how.beta * log_sigmoid(odds), -1 - slope / chosen_left, slope / rejected_left};
    }
    case PreferenceLoss::Kind::simpo: {
      const double margin = how.beta * (c.model - r.model) - how.simpo_gamma, slope = how.beta * sigmoid(-margin);
      return {-log_sigmoid(margin), -slope, slope};
    }
    default: {
      const double slope = how.beta * ((1 - e) * sigmoid(-z) - e * sigmoid(z));
      return {-(1 - e) * log_sigmoid(z) - e * log_sigmoid(-z), -slope, slope};
    }
  }
}

/// Of kto: an answer's loss and the derivative by l.
LAMINA_HD inline AnswerLoss judged_loss(const PreferenceLoss& how, bool desirable, const AnswerScore& score,
                                        double kl) {
  const double side = desirable ? 1 : -1, weight = desirable ? how.chosen_weight : how.rejected_weight,
               p = sigmoid(side * how.beta * (score.model - score.reference - kl));
  return {weight * (1 - p), -weight * side * how.beta * p * (1 - p)};
}

}  // namespace detail

/// kl of the group of kto that a sequence is in.
LAMINA_HD inline double group_kl(const JudgedSequence* sequences, const AnswerScore* scores, int sequence) {
  double sum = 0;
  int count = 0;
  const JudgedSequence& own = sequences[sequence];
  for (int i = own.group; i < own.group + own.group_size; ++i)
    if (sequences[i].role == SequenceRole::baseline) sum += scores[i].model - scores[i].reference, ++count;
  return count > 0 && sum > 0 ? sum / count : 0;
}

/// What a sequence adds to its group's loss: of a pair the chosen one has it all. Of kto the groups' losses are means
/// over their answers, which each sequence's share of a row's weight divides by.
LAMINA_HD inline AnswerLoss answer_loss(const PreferenceLoss& how, const JudgedSequence* sequences,
                                        const AnswerScore* scores, int sequence) {
  const JudgedSequence& own = sequences[sequence];
  if (own.role == SequenceRole::baseline || own.rows == 0) return {};
  const bool chosen = own.role == SequenceRole::chosen;
  double ftx = chosen ? how.ftx : 0;
  AnswerLoss out;
  if (how.kind == PreferenceLoss::Kind::kto) {
    int answers = 0, desirable = 0;
    for (int i = own.group; i < own.group + own.group_size; ++i)
      answers += sequences[i].role != SequenceRole::baseline, desirable += sequences[i].role == SequenceRole::chosen;
    if (chosen) ftx *= static_cast<double>(answers) / desirable * answers / desirable;
    out = detail::judged_loss(how, chosen, scores[sequence], group_kl(sequences, scores, sequence));
  } else {
    AnswerScore both[2] = {scores[own.group], scores[own.group + 1]};
    for (int i = 0; i < 2 && how.averages(); ++i)
      both[i].model /= sequences[own.group + i].rows, both[i].reference /= sequences[own.group + i].rows;
    const detail::PairLoss pair = detail::pair_loss(how, both[0], both[1]);
    out = {chosen ? pair.loss : 0, (chosen ? pair.chosen : pair.rejected) / (how.averages() ? own.rows : 1)};
  }
  return {out.loss - ftx * scores[sequence].model / own.rows, out.slope - ftx / own.rows};
}

/// scores[s] from the nll of its rows, and weight[m] = -share[m] * slope of row m's sequence: what head_loss is to
/// weigh the row by, so that its gradient is that of the sum of share * loss.
struct WeighAnswers {
  const JudgedSequence* sequences = nullptr;  ///< (count)
  int count = 0;
  const float *nll = nullptr, *reference = nullptr;  ///< (rows) -log p of the labels; reference may be null
  const float* share = nullptr;                      ///< (rows) of the row's sequence in the loss
  AnswerScore* scores = nullptr;                     ///< (count)
  float* weight = nullptr;                           ///< (rows)
  PreferenceLoss loss = {};
};

template <class B>
struct preference {
  static void weigh(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
