#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/io/keys/key_table.hpp>
#include <lamina/serve/flags/support.hpp>
#include <lamina/serve/openai/request/json_fields.hpp>

namespace lamina::serve {

/// One field of a chat completion request and what becomes of it. inert: JSON values, separated by |, with which a
/// refused field asks for nothing.
struct RequestField : io::KeyRow {
  constexpr RequestField(std::string_view name, io::KeyStatus status, std::string_view note = "",
                         std::string_view inert = "")
      : KeyRow{name, io::KeyType::object, status, inert, note} {}
};

namespace detail {
inline constexpr std::string_view no_router = "one server answers; nothing is passed on";
inline constexpr std::string_view render_only = "vLLM reads it on its render routes only";
}  // namespace detail

/// Every field of ChatCompletionRequest in vLLM 0.8 to 0.33, and one more that clients send. What is not here is
/// unknown to vLLM too: it is ignored, and the log says so.
inline std::span<const RequestField> request_fields() {
  constexpr auto work = io::KeyStatus::honoured, ignore = io::KeyStatus::accepted, refuse = io::KeyStatus::refused;
  static constexpr RequestField table[] = {
      // the conversation
      {"messages", work,
       "text and images, those with a uuid kept for requests that send the uuid alone; videos too; no audio"},
      {"model", work},
      {"tools", work, "functions; Qwen2.5-VL's template has no place for them"},
      {"tool_choice", work, "none, auto (with --enable-auto-tool-choice), required, or a function"},
      {"parallel_tool_calls", work, "false: the first call alone is kept"},
      {"add_generation_prompt", work},
      {"chat_template_kwargs", work,
       "variables that the chat template reads; enable_thinking: false also turns --reasoning-parser off"},
      {"chat_template", work, "in place of the model's; with --trust-request-chat-template alone"},
      {"continue_final_message", work, "the answer goes on inside the last message"},
      {"echo", work, "the answer begins with the last message, if that is an assistant's"},
      {"add_special_tokens", ignore, "Qwen's tokenizers add none"},
      {"documents", work, "a variable of chat templates that read it"},
      {"prompt_token_ids", refuse, "the prompt is made from messages, not from ids"},
      {"truncate_prompt_tokens", work, "tokens of the prompt that are left; -1: as many as fit; without images"},
      {"truncation_side", work, "left leaves the last tokens, right the first; left by default"},
      {"mm_processor_kwargs", work, "min_pixels and max_pixels of images, or size; fps or num_frames of videos"},
      {"media_io_kwargs", refuse, "the server's own --media-io-kwargs hold for all requests", "{}"},
      // sampling
      {"temperature", work},
      {"top_p", work},
      {"top_k", work},
      {"min_p", work},
      {"seed", work},
      {"n", work},
      {"best_of", refuse, "as many answers are drawn as are returned; use n", "1"},
      {"frequency_penalty", work},
      {"presence_penalty", work},
      {"repetition_penalty", work},
      {"logit_bias", work},
      {"allowed_token_ids", work},
      {"bad_words", work, "a word, and a space with it, never become part of the answer"},
      {"logits_processors", refuse, "no code of a client is run", "[]"},
      {"use_beam_search", refuse, "answers are drawn token by token", "false"},
      {"length_penalty", ignore, "read only with use_beam_search, which is refused"},
      {"watermarking", refuse, "answers cannot be watermarked", "false"},
      {"repetition_detection", refuse, "an answer that repeats itself is not ended early"},
      {"vllm_xargs", refuse, "this server has no extensions that read it", "{}"},
      // structured output
      {"response_format", work, "text, json_object, json_schema or structural_tag; JSON is bound as vLLM's is"},
      {"structured_outputs", work, "one of json, regex, choice, grammar, json_object and structural_tag"},
      {"guided_json", work, "older name of structured_outputs.json"},
      {"guided_regex", work, "older name of structured_outputs.regex"},
      {"guided_choice", work, "older name of structured_outputs.choice"},
      {"guided_grammar", work, "older name of structured_outputs.grammar"},
      {"structural_tag", work, "older name of structured_outputs.structural_tag"},
      {"guided_decoding_backend", ignore, "there is one, this library's own"},
      {"guided_whitespace_pattern", work, "older name of structured_outputs.whitespace_pattern"},
      // reasoning
      {"reasoning_effort", work, "a variable of chat templates that read it; of no effect on others"},
      {"include_reasoning", work, "false: thoughts are left out; read with --reasoning-parser"},
      {"thinking_token_budget", refuse, "thoughts are not cut short; max_tokens bounds the answer with its thought"},
      // lengths and ends
      {"max_tokens", work},
      {"max_completion_tokens", work},
      {"min_tokens", work},
      {"stop", work},
      {"stop_token_ids", work},
      {"include_stop_str_in_output", work},
      {"ignore_eos", work},
      {"skip_special_tokens", work},
      {"spaces_between_special_tokens", ignore, "Qwen's tokenizers write no spaces there"},
      // what the answer shows
      {"logprobs", work},
      {"top_logprobs", work},
      {"logprob_token_ids", refuse, "logprobs of chosen tokens are not reported; use top_logprobs", "[]"},
      {"prompt_logprobs", work, "not with stream; such a request uses no computed parts of prompts"},
      {"return_tokens_as_token_ids", work},
      {"return_token_ids", work},
      {"return_token_offsets", ignore, detail::render_only},
      {"return_prompt_text", refuse, "the prompt's text is not returned; return_token_ids gives its ids", "false"},
      {"return_mm_kwargs", ignore, detail::render_only},
      {"mm_payload", ignore, detail::render_only},
      {"return_weight_versions", refuse, "weights have no versions here", "false"},
      {"routed_experts_prompt_start", ignore, "these models have no experts"},
      {"stream", work},
      {"stream_options", work},
      {"stream_interval", work},
      // the request itself
      {"request_id", work},
      {"session_id", ignore, detail::no_router},
      {"user", ignore, "vLLM ignores it too"},
      {"priority", work, "smaller is served first; other than 0 with --scheduling-policy priority alone"},
      {"cache_salt", work, "only requests of equal salt share the computed parts of prompts"},
      {"kv_transfer_params", ignore, detail::no_router},
      {"ec_transfer_params", ignore, detail::no_router},
  };
  return table;
}

/// The fields of /v1/completions that are other than those of chats, in vLLM 0.8 to 0.33.
inline std::span<const RequestField> completion_fields() {
  constexpr auto work = io::KeyStatus::honoured, ignore = io::KeyStatus::accepted, refuse = io::KeyStatus::refused;
  static constexpr RequestField table[] = {
      {"prompt", work, "a text, token ids, or a list of either"},
      {"max_tokens", work, "16 by default; 0 with echo: the prompt alone"},
      {"logprobs", work, "a number of alternatives"},
      {"echo", work, "answers begin with their prompt, and with its logprobs"},
      {"suffix", refuse, "the model does not fill in what comes before a text", "\"\""},
      {"prompt_embeds", refuse, "prompts are texts or token ids"},
      {"add_special_tokens", ignore, "Qwen's tokenizers add none"},
  };
  return table;
}

/// The row of a field; null for one that vLLM does not have either. own: the rows of an API that come first
inline const RequestField* request_field(std::string_view name, std::span<const RequestField> own = {},
                                         std::span<const RequestField> shared = request_fields()) {
  const RequestField* field = io::find_key(own, name);
  return field ? field : io::find_key(shared, name);
}

/// The fields of a route in words, for --help; a word leaves only the lines that hold it. "" if none does.
inline std::string request_fields_help(std::string_view word = {}, std::string_view path = "/v1/chat/completions",
                                       std::span<const RequestField> fields = request_fields()) {
  std::string lines;
  for (const auto& field : fields) lines += help_line(std::string(field.name), support_text(field), word);
  return lines.empty() ? "" : cat("fields of POST ", path, "\n", lines);
}

namespace detail {
/// Is the value null or one of the field's harmless ones? Long values are not written out: none of those is.
inline bool asks_for_nothing(const RequestField& field, const Json& value) {
  if (value.is_null()) return true;
  if (value.is_string() ? !value.get_ref<const std::string&>().empty() : value.is_structured() && !value.empty())
    return false;
  return io::is_among(value.dump(), field.inert);
}
}  // namespace detail

/// Refuses a request that asks for something that is not here (ApiError 400). Returns the names of the fields that
/// nobody knows, at most ten, fit for a log. own: the rows of the request's API that come first; shared: those that
/// come after them
inline std::vector<std::string> check_request_fields(const Json& body, std::span<const RequestField> own = {},
                                                     std::span<const RequestField> shared = request_fields()) {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : body.items()) {
    const RequestField* field = request_field(name, own, shared);
    if (!field && unknown.size() < 10) unknown.push_back(printable(name, 64));
    if (field && field->status == io::KeyStatus::refused && !detail::asks_for_nothing(*field, value))
      throw not_implemented(name, cat(name, ": is not supported by this server: ", field->note));
  }
  return unknown;
}

}  // namespace lamina::serve
