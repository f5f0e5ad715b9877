#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>

#include <lamina/core/backend.hpp>
#include <lamina/core/host/device.hpp>
#include <lamina/core/tensor/view.hpp>
#include <lamina/kernel/no_kernels.hpp>

/// The choice of the next token where the logits are, so that one decoding step can follow another without the host.
namespace lamina::kernel {

/// Which tokens may be chosen, and the noise that chooses. The n-th choice depends on (seed, stream, n) alone.
struct SamplingRule {
  double temperature = 0;  ///< below 1e-5: the most probable token, and nothing below counts
  double top_p = 1, min_p = 0;
  int top_k = 0;  ///< 0 or less: off
  std::uint64_t seed = 0, stream = 0;
};

/// The order in which tokens are counted off.
enum class SampleOrder { best_alone, by_id, by_probability };
LAMINA_HD inline SampleOrder order_of(const SamplingRule& rule) {
  if (rule.temperature < 1e-5) return SampleOrder::best_alone;
  return rule.top_k > 0 || rule.top_p < 1 ? SampleOrder::by_probability : SampleOrder::by_id;
}

/// One token for each of S sequences from its logits (V), every one by its own rule. With
/// p[i] = exp((logits[i] - max) / temperature) in fp64 and w[i] = p[i] in units of 2^-40, rounded, if p[i] >= min_p,
/// else 0:
///
///     best_alone       the largest logit
///     by_id            the first i for which w[0] + .. + w[i] > u * sum w,   0 <= u < 1
///     by_probability   the same over tokens sorted by falling logit: those before place top_k, and of them the fewest
///                      whose sum reaches top_p of the mass
///
/// u is the noise of draw number chosen[s]. Of equal logits the lowest id comes first. Sums of integers do not depend
/// on who adds them, so backends agree. A token goes to newest[rows[s]] and to told[s]; not_finite if a logit of the
/// row is not finite.
///
/// A sequence may draw from fp32 logits that were adjusted (adjust_logits.hpp). Of those -inf excludes a token, as if
/// the row did not have it; none_left if it excludes all. Other numbers that are not finite are not_finite there too.
/// source      noise: Salmon et al. 2011 (core/random/philox.hpp);  top_p: Holtzman et al. 2019, arXiv:1904.09751
template <class T>
struct SampleRows {
  static constexpr int not_finite = -1, none_left = -2;  ///< instead of a token

  Matrix<const T> logits;               ///< (S, V)
  Matrix<const float> adjusted = {};    ///< (A, V)
  const int* sources = nullptr;         ///< (S) rows of adjusted; negative: the sequence's own logits. Null: all are
  const int* rows = nullptr;            ///< (S) request rows, all different; negative: nothing is chosen, told[s] = -1
  const SamplingRule* rules = nullptr;  ///< (S)
  const int* chosen = nullptr;          ///< (S) tokens that the sequence has chosen before
  int* newest = nullptr;                ///< (R) negative if there is no token
  int* told = nullptr;                  ///< (S)

  LAMINA_HD int source(int s) const { return sources ? sources[s] : -1; }
};

namespace detail {
/// w of a token that is `place`-th in the order; `below` is its logit less the largest one.
LAMINA_HD inline std::uint64_t sample_weight(const SamplingRule& rule, SampleOrder order, float below, int place) {
  if (order == SampleOrder::by_probability && rule.top_k > 0 && place >= rule.top_k) return 0;
  const double exponent = static_cast<double>(below) / rule.temperature;
  if (exponent < -30) return 0;  // 2^40 exp(-30) rounds to 0
  const double p = exp(exponent);
  return p >= rule.min_p ? static_cast<std::uint64_t>(p * 0x1p40 + 0.5) : 0;
}
/// The least sum that holds top_p of the mass.
LAMINA_HD inline std::uint64_t nucleus_mass(const SamplingRule& rule, std::uint64_t mass) {
  const auto wanted = static_cast<std::uint64_t>(ceil(rule.top_p * static_cast<double>(mass)));
  return wanted < 1 ? 1 : wanted > mass ? mass : wanted;
}
/// u * mass; u from uniform(seed, stream, chosen).
LAMINA_HD inline std::uint64_t sample_target(double u, std::uint64_t mass) {
  const auto target = static_cast<std::uint64_t>(u * static_cast<double>(mass));
  return target < mass ? target : mass - 1;
}
}  // namespace detail

template <class B>
struct sample {
  static void rows(auto...) { no_kernels<B>(); }
};

}  // namespace lamina::kernel
