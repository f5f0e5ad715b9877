#pragma once
#include <cmath>
#include <random>
#include <vector>

#include <lamina/core/tensor/dtype.hpp>
#include <lamina/kernel/logits/logprobs.hpp>

namespace lamina::test {

/// Rows of logits, and what is asked of them: a given token, the newest of a request row, none, or nothing at all.
template <class T>
struct LogprobsProblem {
  int vocab, rows;
  std::vector<T> logits;
  std::vector<int> tokens, newest = {-1, 0}, alternatives;

  /// kind 0: random; 1: all equal; 2: random, and one is not finite
  LogprobsProblem(int vocab, const std::vector<int>& kinds)
      : vocab(vocab), rows(static_cast<int>(kinds.size())), logits(kinds.size() * static_cast<std::size_t>(vocab)) {
    std::mt19937 random(static_cast<unsigned>(vocab));
    std::normal_distribution<float> normal(0, 3);
    newest.push_back(vocab - 1);
    constexpr int asked[] = {0, 20, -1, 3, 1, 5};
    for (std::size_t s = 0; s < kinds.size(); ++s) {
      T* const row = &logits[s * static_cast<std::size_t>(vocab)];
      for (int i = 0; i < vocab; ++i) row[i] = round_to<T>(kinds[s] == 1 ? -1.5f : normal(random));
      if (kinds[s] == 2) row[vocab / 2] = round_to<T>(NAN);
      tokens.push_back(s % 4 == 3 ? kernel::TokenInputs::newest_of(static_cast<int>(s / 4) % 3)
                                  : static_cast<int>(random() % static_cast<unsigned>(vocab)));
      alternatives.push_back(asked[s % 6]);
    }
  }
};

}  // namespace lamina::test
