#pragma once
#include <cstdint>
#include <string>

#include <lamina/core/error.hpp>

/// The refusals of prompts that do not fit, in vLLM's words (0.25: renderers/params.py). litellm and LangChain
/// recognise them by "maximum context length is N tokens", agents read the numbers to shorten the prompt or to lower
/// max_tokens.
namespace lamina::serve {

namespace detail {
inline std::string context_length_sentence(std::int64_t max_model_len, std::int64_t output_tokens,
                                           const std::string& prompt) {
  return cat("This model's maximum context length is ", max_model_len, " tokens. However, you requested ",
             output_tokens, " output tokens and your prompt contains ", prompt,
             " Please reduce the length of the input prompt or the number of requested output tokens.");
}
}  // namespace detail

/// For a prompt of `prompt_tokens` that is too long, alone or together with the `output_tokens` that were asked for (0
/// if the request has no max_tokens). lower_bound: the prompt was not counted to its end, it has at least so many.
inline std::string context_length_message(std::int64_t max_model_len, std::int64_t output_tokens,
                                          std::int64_t prompt_tokens, bool lower_bound = false) {
  const char* least = lower_bound ? "at least " : "";
  return detail::context_length_sentence(
      max_model_len, output_tokens,
      cat(least, prompt_tokens, " input tokens, for a total of ", least, prompt_tokens + output_tokens, " tokens."));
}

/// For a text that is refused by its length, before it is tokenized: the context has room for at most `max_characters`.
inline std::string context_length_message_for_text(std::int64_t max_model_len, std::int64_t output_tokens,
                                                   std::int64_t characters, std::int64_t max_characters) {
  return detail::context_length_sentence(
      max_model_len, output_tokens,
      cat(characters, " characters (more than ", max_characters, " characters, which is the upper bound for ",
          max_model_len - output_tokens, " input tokens)."));
}

}  // namespace lamina::serve
