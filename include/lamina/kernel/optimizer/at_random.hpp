#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>

#include <lamina/core/backend.hpp>
#include <lamina/core/tensor/dtype.hpp>
#include <lamina/kernel/elementwise/hashed.hpp>
#include <lamina/kernel/optimizer/optimizer.hpp>

/// Stochastic rounding, and the update of pure_bf16 that is made of it: one definition for all backends.
namespace lamina::kernel {

/// x as bf16: one of its two neighbours, each with the probability of how near x is, so that the mean is x. `bits` has
/// 16 random ones at its lower end. Infinities and NaN stay.
/// source      Gupta et al. 2015, arXiv:1502.02551, section 3.1
LAMINA_HD inline bf16 round_at_random(float x, std::uint64_t bits) {
  const auto word = std::bit_cast<std::uint32_t>(x);
  if ((word & 0x7f800000u) == 0x7f800000u) return round_to<bf16>(x);
  return {static_cast<std::uint16_t>((word + (bits & 0xffffu)) >> 16)};
}

/// A run's k-th value.
template <class Rule, class T>
LAMINA_HD void update_value(const UpdateStepBf16<T>& a, const OptimizerNumbers& o, const ValueRun<T>& run, int k) {
  const std::size_t i = run.first + static_cast<std::size_t>(k), at = run.state + static_cast<std::size_t>(k);
  T* const copy = run.to ? run.copy(k) : nullptr;
  float w = copy ? to_f32(*copy) : a.w[i];
  float m = Rule::moments > 0 ? to_f32(a.m[at]) : 0, v = Rule::moments > 1 ? to_f32(a.v[at]) : 0;
  Rule::update(w, a.g[i] * a.clip->scale, m, v, o, run.rate, run.decays ? 1 - run.rate * (1 - o.decay) : 1.0f);
  a.g[i] = 0;
  const std::uint64_t bits = hashed_bits(o.draw, i);
  if (Rule::moments > 0) a.m[at] = round_at_random(m, bits >> 16);
  if (Rule::moments > 1) a.v[at] = round_at_random(v, bits >> 32);
  const float rounded = to_f32(round_at_random(w, bits));
  if (copy)
    *copy = round_to<T>(rounded);
  else
    a.w[i] = rounded;
}

}  // namespace lamina::kernel
