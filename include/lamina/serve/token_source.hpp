#pragma once
#include <optional>
#include <stop_token>
#include <utility>

#include <lamina/core/batch.hpp>
#include <lamina/engine/sampler.hpp>
#include <lamina/model/session.hpp>

namespace lamina::serve {

/// The tokens of one completion, one after the other: from the session if it chooses them, else drawn from its
/// logits. Throws lamina::Error if the model's numbers are not finite.
class TokenSource {
 public:
  /// The session and the prompt outlive it.
  TokenSource(GenerateSession& session, engine::SamplingParams params, const Batch& prompt)
      : session_(session),
        prompt_(prompt),
        rule_(session.chooses() ? params.rule() : std::nullopt),
        sampler_(std::move(params), prompt.ids, session.vocab_size()) {}

  /// Reads the prompt. Throws Cancelled.
  engine::Sampled first(const std::stop_token& cancelled = {}) {
    if (rule_) return chosen(session_.choose_first(prompt_, *rule_, cancelled));
    return sampler_.next(session_.prefill(prompt_, cancelled));
  }
  /// The token after `id`, which is the last one that it gave.
  engine::Sampled following(int id) {
    if (rule_) return chosen(session_.choose_next());
    return sampler_.next(session_.decode(id));
  }

 private:
  static engine::Sampled chosen(int id) { return {.token = {.id = id}, .top = {}}; }

  GenerateSession& session_;
  const Batch& prompt_;
  std::optional<kernel::SamplingRule> rule_;  ///< if the session chooses
  engine::Sampler sampler_;                   ///< also refuses ids outside the vocabulary
};

}  // namespace lamina::serve
