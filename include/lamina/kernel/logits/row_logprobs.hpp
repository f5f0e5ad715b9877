#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

/// What log-probabilities are made of, from one row of logits (V) on the host.
namespace lamina::kernel {

/// log(sum_v exp(logits[v])), summed in fp64; NaN if a logit is not finite.
inline double log_sum_exp(std::span<const float> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::isfinite(x) ? std::exp(x - largest) : NAN;
  return largest + std::log(sum);
}
/// 1 for a logit that none exceeds.
inline int rank_among(std::span<const float> logits, float logit) {
  return 1 + static_cast<int>(std::count_if(logits.begin(), logits.end(), [&](float x) { return x > logit; }));
}
/// The `count` tokens of the largest logits, the largest first; of equal ones the lower id.
inline std::vector<int> largest_logits(std::span<const float> logits, std::size_t count) {
  if (count == 0) return {};
  std::vector<int> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + static_cast<std::ptrdiff_t>(count);
  std::partial_sort(ids.begin(), end, ids.end(), [&](int a, int b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
  ids.erase(end, ids.end());
  return ids;
}

}  // namespace lamina::kernel
