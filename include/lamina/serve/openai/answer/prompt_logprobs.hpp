#pragma once
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/engine/request/logprobs.hpp>
#include <lamina/serve/openai/answer/answer_text.hpp>
#include <lamina/serve/openai/answer/chat_response.hpp>
#include <lamina/text/tokenizer.hpp>

namespace lamina::serve {

/// One entry of vLLM's prompt_logprobs: {"id": {"logprob", "rank", "decoded_token"}}, the prompt's token first.
inline Json prompt_logprob_json(const text::Tokenizer& tokenizer, const engine::Sampled& scored) {
  Json entry = Json::object();
  const auto add = [&](const engine::TokenLogprob& t) {
    const int ids[] = {t.id};
    entry.emplace(std::to_string(t.id),
                  Json{{"logprob", t.logprob}, {"rank", t.rank}, {"decoded_token", tokenizer.decode(ids)}});
  };
  add(scored.token);
  for (const auto& other : scored.top) add(other);
  return entry;
}

/// Adds entries to what prompt_logprobs_list() closes. Throws ApiError.
inline void add_prompt_logprobs(AnswerText& list, const text::Tokenizer& tokenizer,
                                const std::vector<engine::Sampled>& tokens) {
  for (const auto& scored : tokens) list.append("," + compact(prompt_logprob_json(tokenizer, scored)));
}
/// A prompt's first token has no logprob.
inline std::string prompt_logprobs_list(const AnswerText& entries) { return cat("[null", entries.view(), "]"); }

}  // namespace lamina::serve
