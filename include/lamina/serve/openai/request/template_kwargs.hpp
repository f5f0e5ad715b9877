#pragma once
#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

#include <lamina/io/program/usage.hpp>
#include <lamina/serve/openai/request/json_fields.hpp>
#include <lamina/text/prompt_template.hpp>

namespace lamina::serve {

/// Checks the names of chat_template_kwargs, or of --default-chat-template-kwargs; `path` is what messages call it.
/// ApiError for those that are set otherwise or would reach past the template, and for those that it does not read, but
/// for enable_thinking, which --reasoning-parser reads. chat_template: nullptr if it is not known yet.
inline void check_template_kwargs(const Json& kwargs, const std::string& path,
                                  const text::PromptTemplate* chat_template) {
  static constexpr std::string_view reserved[] = {"messages",
                                                  "tools",
                                                  "documents",
                                                  "add_generation_prompt",
                                                  "continue_final_message",
                                                  "chat_template",
                                                  "conversation",
                                                  "conversations",
                                                  "tokenize",
                                                  "return_dict"};
  const Fields given(kwargs, path);
  for (const auto& [key, value] : kwargs.items()) {
    if (std::find(std::begin(reserved), std::end(reserved), key) != std::end(reserved))
      throw bad_field(path, cat(path, ": has \"", key, "\", which is no variable to set here"));
    if (chat_template && key != "enable_thinking" && !chat_template->reads(key))
      throw bad_field(path, cat(path, ": has \"", clipped(key), "\", which the chat template does not read"));
  }
}

/// The same of a flag, whose value it is: UsageError.
inline void check_template_flag(const Json& kwargs, const std::string& flag,
                                const text::PromptTemplate* chat_template) {
  try {
    check_template_kwargs(kwargs, flag, chat_template);
  } catch (const ApiError& e) {
    io::usage(e.what());
  }
}

}  // namespace lamina::serve
