#pragma once
#include <lamina/kernel/logits/preference.hpp>

template <>
struct lamina::kernel::preference<lamina::Cpu> {
  static void weigh(Stream<Cpu>, const WeighAnswers& a) {
    for (int s = 0; s < a.count; ++s) a.scores[s] = score_of(a.sequences[s], a.nll, a.reference);
    for (int s = 0; s < a.count; ++s) {
      const double slope = answer_loss(a.loss, a.sequences, a.scores, s).slope;
      for (int m = a.sequences[s].first_row; m < a.sequences[s].first_row + a.sequences[s].rows; ++m)
        a.weight[m] = static_cast<float>(-slope * static_cast<double>(a.share[m]));
    }
  }
};
