#pragma once
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/kernel/logits/adjust_logits.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace lamina::test {

/// Whether both are the same number, 0 and -0 told apart, or neither is one.
inline bool same_bits(float x, float y) {
  return std::memcmp(&x, &y, sizeof x) == 0 || (std::isnan(x) && std::isnan(y));
}

/// Rows of random logits, and rules of every kind for some of them.
template <class T>
struct AdjustProblem {
  static constexpr int rows = 5;
  int vocab, words;
  std::vector<T> logits;  ///< (rows, vocab)
  std::vector<kernel::LogitRule> rules;
  std::vector<std::uint64_t> bits;
  std::vector<kernel::LogitOffset> offsets;

  explicit AdjustProblem(int vocab) : vocab(vocab), words((vocab + 63) / 64) {
    std::mt19937 random(static_cast<unsigned>(vocab));
    std::normal_distribution<float> normal(0, 5);
    for (int i = 0; i < rows * vocab; ++i) logits.push_back(round_to<T>(normal(random)));
    logits[0] = round_to<T>(-0.0f);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()})
      logits[random() % logits.size()] = round_to<T>(bad);
    for (const double penalty : {1.0, 1.05, 0.7, 1e-40, 1e300})
      for (int kind = 0; kind < 8; ++kind) add(penalty, kind, random);
  }

  kernel::AdjustLogits<T> on_host(std::vector<float>& to) const {
    to.assign(rules.size() * static_cast<std::size_t>(vocab), -7);
    return {.logits = {logits.data(), rows, vocab},
            .rules = rules.data(),
            .bits = {bits.data(), static_cast<int>(bits.size()) / words, words},
            .offsets = offsets.data(),
            .adjusted = {to.data(), static_cast<int>(rules.size()), vocab}};
  }

 private:
  /// kind: bit 0: some tokens may not come, 1: some were seen, 2: some have an offset.
  void add(double penalty, int kind, std::mt19937& random) {
    kernel::LogitRule rule{.repetition_penalty = penalty, .row = static_cast<int>(random() % rows)};
    const auto mask = [&] {
      for (int w = 0; w < words; ++w) bits.push_back(std::uint64_t{random()} << 32 | random());
      return static_cast<int>(bits.size()) / words - 1;
    };
    if (kind & 1) rule.allowed = mask();
    if (kind & 2) rule.seen = mask();
    rule.first_offset = static_cast<int>(offsets.size());
    std::normal_distribution<float> normal(0, 2);
    for (int id = vocab - 1; kind & 4 && id >= 0; id -= 1 + static_cast<int>(random() % 7)) {
      offsets.push_back({.id = id});
      if (random() % 3 != 0) offsets.back().bias = normal(random);
      if (random() % 3 != 0) offsets.back().penalty = normal(random);
    }
    rule.offsets = static_cast<int>(offsets.size()) - rule.first_offset;
    rules.push_back(rule);
  }
};

}  // namespace lamina::test
