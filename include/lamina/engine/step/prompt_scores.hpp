#pragma once
#include <cstddef>
#include <span>
#include <vector>

#include <lamina/core/threads.hpp>
#include <lamina/engine/step/request_rows.hpp>

/// Logprobs of a prompt's tokens: of those that follow the row.scored tokens whose logits a step has.
namespace lamina::engine {

/// of_token(i, token, alternatives) gives those of the i-th.
template <class OfToken>
PromptScores scores_of(const StepRow& row, const RunningRequest& request, OfToken of_token) {
  PromptScores out{row.id, row.first + 1, std::vector<Sampled>(static_cast<std::size_t>(row.scored))};
  parallel_for(row.scored, [&](std::int64_t at) {
    const auto i = static_cast<std::size_t>(at);
    const int token = request.prompt->ids[static_cast<std::size_t>(out.first) + i];
    out.tokens[i] = of_token(i, token, *request.prompt_logprobs);
  });
  return out;
}
/// From logits (row.scored, vocab) that were fetched.
inline PromptScores scores_of(const StepRow& row, const RunningRequest& request, const std::vector<float>& logits,
                              int vocab) {
  const auto width = static_cast<std::size_t>(vocab);
  return scores_of(row, request, [&](std::size_t i, int token, int alternatives) {
    return logprobs_of(std::span(logits).subspan(i * width, width), token, alternatives);
  });
}
/// From what the backend found.
inline PromptScores scores_of(const StepRow& row, const RunningRequest& request, const kernel::RowLogprobs* found,
                              int vocab) {
  return scores_of(row, request, [&](std::size_t i, int token, int alternatives) {
    return sampled_of(found[i], token, alternatives, vocab);
  });
}

}  // namespace lamina::engine
