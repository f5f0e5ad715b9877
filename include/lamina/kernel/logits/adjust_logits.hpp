#pragma once
#include <cstdint>
#include <limits>

#include <lamina/core/backend.hpp>
#include <lamina/core/host/device.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// How the backend changes logits by the rules of requests, before it draws tokens.
namespace lamina::kernel {

/// A change to the logit of one token.
struct LogitOffset {
  int id = 0;
  float bias = -0.0f;  ///< added before the repetition penalty; only -0 leaves every number as it is
  float penalty = 0;   ///< subtracted after it
};

/// What becomes of one row of logits.
struct LogitRule {
  double repetition_penalty = 1;
  int row = 0;                        ///< of the logits
  int allowed = -1, seen = -1;        ///< rows of bits; negative: all tokens may come, none was seen
  int first_offset = 0, offsets = 0;  ///< its own, each of another token
};

/// Copies in fp32 of A rows of logits (V), each changed by a rule. With x = logits[row, i], r = repetition_penalty and
/// the offset of token i, if it has one:
///
///     NaN                         x is not a finite number
///     -inf                        bit i of `allowed` is 0
///     y - penalty                 y = x + bias, in fp32; if bit i of `seen` is 1, the finite fp32 number that is
///                                 nearest to y / r for y > 0, else to y * r
///
/// source  repetition_penalty: Keskar et al. 2019, arXiv:1909.05858, section 4.1; the rest: OpenAI's API
template <class T>
struct AdjustLogits {
  Matrix<const T> logits;            ///< (S, V)
  const LogitRule* rules = nullptr;  ///< (A)
  Matrix<const std::uint64_t> bits;  ///< (masks, ceil(V / 64)) bit i % 64 of word i / 64 is token i's
  const LogitOffset* offsets = nullptr;
  Matrix<float> adjusted;  ///< (A, V)

  /// What becomes of x, the logit of token id.
  LAMINA_HD float value(const LogitRule& rule, float x, int id, const LogitOffset& offset) const;

  LAMINA_HD bool has(int mask, int id) const { return bits(mask, id / 64) >> id % 64 & 1; }
};

/// The finite fp32 number that is nearest to x: penalties near 0 make logits overflow, and infinite ones have no
/// differences.
LAMINA_HD inline float nearest_finite(double x) {
  constexpr double most = std::numeric_limits<float>::max();
  return static_cast<float>(x < -most ? -most : x > most ? most : x);
}
/// Of the formula of AdjustLogits: what becomes of the finite logit x of a token that may come.
LAMINA_HD inline float adjusted_logit(float x, bool seen, double repetition_penalty, const LogitOffset& offset) {
  x += offset.bias;
  if (seen) x = nearest_finite(x > 0 ? x / repetition_penalty : x * repetition_penalty);
  return x - offset.penalty;
}

template <class T>
LAMINA_HD float AdjustLogits<T>::value(const LogitRule& rule, float x, int id, const LogitOffset& offset) const {
  constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN(),
                  excluded = -std::numeric_limits<float>::infinity();
  if (!(x - x == 0)) return not_a_number;
  if (rule.allowed >= 0 && !has(rule.allowed, id)) return excluded;
  return adjusted_logit(x, rule.seen >= 0 && has(rule.seen, id), rule.repetition_penalty, offset);
}

template <class B>
struct adjust_logits {
  static void forward(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
