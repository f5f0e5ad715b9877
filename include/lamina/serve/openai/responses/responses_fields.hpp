#pragma once
#include <span>

#include <lamina/serve/openai/request/request_fields.hpp>

namespace lamina::serve {

/// The fields of /v1/responses: those of OpenAI's API, and those that vLLM 0.33 adds. What is not here is ignored, and
/// the log says so.
inline std::span<const RequestField> responses_fields() {
  constexpr auto work = io::KeyStatus::honoured, ignore = io::KeyStatus::accepted, refuse = io::KeyStatus::refused;
  static constexpr std::string_view not_stored = "responses are not stored; send earlier turns as items of input";
  static constexpr RequestField table[] = {
      // the conversation
      {"input", work,
       "a text, or items: messages, function calls, their outputs, reasoning; images, no files or audio"},
      {"instructions", work, "a system message before the input"},
      {"model", work},
      {"tools", work, "functions alone; built-in tools are refused by their type"},
      {"tool_choice", work, "none, auto (with --enable-auto-tool-choice), required, or a function"},
      {"parallel_tool_calls", work, "false: the first call alone is kept"},
      {"chat_template_kwargs", work, "variables that the chat template reads"},
      {"mm_processor_kwargs", work, "min_pixels and max_pixels of images, or size; fps or num_frames of videos"},
      {"truncation", work, "auto leaves the last tokens that fit the context; without images. disabled by default"},
      {"previous_response_id", refuse, not_stored},
      {"previous_response", refuse, not_stored},
      {"previous_input_messages", refuse, not_stored},
      {"conversation", refuse, not_stored},
      {"prompt", refuse, "prompts are not stored; send their text"},
      {"context_management", refuse, "conversations are not compacted", "[]"},
      {"store", refuse, not_stored, "false"},
      {"background", refuse, "a response that is not stored cannot be fetched later", "false"},
      {"background_options", refuse, "a response that is not stored cannot be fetched later", "{}"},
      // the answer
      {"max_output_tokens", work, "thoughts count"},
      {"text", work, "format: text, json_object or json_schema; verbosity: medium alone"},
      {"reasoning", work, "effort, a variable of chat templates that read it; summaries are not made: content has all"},
      {"include", work, "message.output_text.logprobs; the others name what is in no response of this server"},
      {"top_logprobs", work, "more than 0 asks for logprobs too"},
      {"structured_outputs", work, "in place of text.format; as in chats"},
      {"temperature", work},
      {"top_p", work},
      {"top_k", work},
      {"repetition_penalty", work},
      {"logit_bias", work},
      {"seed", work},
      {"stop", work},
      {"ignore_eos", work},
      {"include_stop_str_in_output", work},
      {"skip_special_tokens", work},
      {"max_tool_calls", ignore, "counts built-in tools, which are refused"},
      {"moderation", refuse, "nothing is judged"},
      {"vllm_xargs", refuse, "this server has no extensions that read it", "{}"},
      {"enable_response_messages", refuse, "prompts are not returned; POST /tokenize gives their ids", "false"},
      {"stream", work},
      {"stream_options", ignore, "nothing is obfuscated"},
      // the request itself
      {"metadata", work, "the response repeats it"},
      {"request_id", work},
      {"priority", work, "smaller is served first; other than 0 with --scheduling-policy priority alone"},
      {"cache_salt", work, "only requests of equal salt share the computed parts of prompts"},
      {"prompt_cache_key", ignore, "computed parts of prompts are found by their content"},
      {"prompt_cache_options", ignore, "computed parts of prompts are found by their content"},
      {"prompt_cache_retention", ignore, "computed parts of prompts are kept while there is room"},
      {"service_tier", ignore, "there is one"},
      {"safety_identifier", ignore, "nothing is reported"},
      {"user", ignore, "nothing is reported"},
  };
  return table;
}

}  // namespace lamina::serve
