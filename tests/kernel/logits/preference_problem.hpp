#pragma once
#include <lamina/kernel/logits/preference.hpp>

#include <random>
#include <vector>

namespace lamina::test {

/// Answers of a few tokens each: three pairs, or a micro-batch of stage kto of three answers with their baselines.
struct PreferenceProblem {
  PreferenceLoss loss;
  std::vector<kernel::JudgedSequence> sequences;
  std::vector<float> nll, reference, share;

  explicit PreferenceProblem(PreferenceLoss::Kind kind) {
    loss = {.kind = kind, .beta = 0.3, .ftx = 0.2, .chosen_weight = 0.8, .rejected_weight = 1.3};
    if (kind == PreferenceLoss::Kind::sigmoid) loss.label_smoothing = 0.1;
    const bool kto = kind == PreferenceLoss::Kind::kto;
    std::mt19937 random(7);
    const int lengths[] = {3, 1, 5, 200, 2, 4};
    int row = 0;
    for (int s = 0; s < 6; ++s) {
      const SequenceRole second = kto ? SequenceRole::baseline : SequenceRole::rejected,
                         first = kto && s == 2 ? SequenceRole::rejected : SequenceRole::chosen;
      sequences.push_back({.first_row = row,
                           .rows = lengths[s],
                           .group = kto ? 0 : s / 2 * 2,
                           .group_size = kto ? 6 : 2,
                           .role = s % 2 == 0 ? first : second});
      row += lengths[s];
    }
    for (int m = 0; m < row; ++m) {
      nll.push_back(0.1f + static_cast<float>(random() % 64) / 64);
      reference.push_back(nll.back() + static_cast<float>(random() % 64) / 256 - 0.1f);
      share.push_back(0.25f);
    }
  }
  int rows() const { return static_cast<int>(nll.size()); }

  /// The weighted loss of all sequences.
  double value() const {
    std::vector<kernel::AnswerScore> scores;
    for (const auto& s : sequences) scores.push_back(kernel::score_of(s, nll.data(), reference.data()));
    double sum = 0;
    for (int s = 0; s < 6; ++s)
      sum += static_cast<double>(share[0]) * kernel::answer_loss(loss, sequences.data(), scores.data(), s).loss;
    return sum;
  }
};

inline constexpr PreferenceLoss::Kind preference_kinds[] = {PreferenceLoss::Kind::sigmoid, PreferenceLoss::Kind::hinge,
                                                            PreferenceLoss::Kind::ipo,     PreferenceLoss::Kind::orpo,
                                                            PreferenceLoss::Kind::simpo,   PreferenceLoss::Kind::kto};

}  // namespace lamina::test
