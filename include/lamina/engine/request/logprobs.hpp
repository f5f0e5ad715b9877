#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <lamina/kernel/logits/logprobs.hpp>

namespace lamina::engine {

/// A token and its natural logarithm of probability under the model's raw logits.
struct TokenLogprob {
  int id = 0;
  double logprob = 0;
  int rank = 0;  ///< 1: the most probable token; only with logprobs
};

/// A token of an answer or of a prompt; its logprob and alternatives only if they were asked for.
struct Sampled {
  TokenLogprob token;
  std::vector<TokenLogprob> top;
};

/// The logprob of token `id` after logits (V), and those of the `top` most probable tokens, -1: of all. Not below
/// -9999, since JSON has no infinity.
inline Sampled logprobs_of(std::span<const float> logits, int id, int top) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - max);
  const double log_sum = max + std::log(sum);
  const auto logprob = [&](int token) { return std::max(logits[static_cast<std::size_t>(token)] - log_sum, -9999.0); };
  const auto rank = 1 + std::count_if(logits.begin(), logits.end(),
                                      [own = logits[static_cast<std::size_t>(id)]](float x) { return x > own; });
  Sampled out{.token = {id, logprob(id), static_cast<int>(rank)}, .top = {}};
  const std::size_t k = top < 0 ? logits.size() : std::min(static_cast<std::size_t>(top), logits.size());
  if (k == 0) return out;
  std::vector<int> order(logits.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k), order.end(), [&](int a, int b) {
    const float x = logits[static_cast<std::size_t>(a)], y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (std::size_t i = 0; i < k; ++i) out.top.push_back({order[i], logprob(order[i]), static_cast<int>(i) + 1});
  return out;
}

/// The same of what a backend found: token `id` of a vocabulary, and so many alternatives.
inline Sampled sampled_of(const kernel::RowLogprobs& row, int id, int alternatives, int vocab) {
  const auto logprob = [&](float logit) { return std::max(double{logit} - row.log_sum, -9999.0); };
  Sampled out{.token = {id, logprob(row.logit), row.rank}, .top = {}};
  for (int i = 0; i < std::min(alternatives, vocab); ++i)
    out.top.push_back({row.ids[i], logprob(row.logits[i]), i + 1});
  return out;
}

}  // namespace lamina::engine
