#pragma once
#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include <lamina/kernel/logits/logprobs.hpp>
#include <lamina/kernel/logits/row_logprobs.hpp>

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
  const double log_sum = kernel::log_sum_exp(logits);
  const auto logprob = [&](int token) { return std::max(logits[static_cast<std::size_t>(token)] - log_sum, -9999.0); };
  const int rank = kernel::rank_among(logits, logits[static_cast<std::size_t>(id)]);
  Sampled out{.token = {id, logprob(id), rank}, .top = {}};
  const std::size_t count = top < 0 ? logits.size() : std::min(static_cast<std::size_t>(top), logits.size());
  for (const int token : kernel::largest_logits(logits, count))
    out.top.push_back({token, logprob(token), static_cast<int>(out.top.size()) + 1});
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
