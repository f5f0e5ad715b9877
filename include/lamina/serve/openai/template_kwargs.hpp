#pragma once
#include <optional>
#include <string>

#include <lamina/serve/openai/json_fields.hpp>

namespace lamina::serve {

/// The settings that the built-in chat templates read, besides those that are fields of their own.
struct TemplateKwargs {
  std::optional<bool> add_vision_id;    ///< "Picture 1: " before the first image, and so on
  std::optional<bool> enable_thinking;  ///< no Instruct template reads it; --reasoning-parser does
};

/// Reads chat_template_kwargs of a request, or --default-chat-template-kwargs; `path` is what messages call it.
/// ApiError for names that no template has: names such as tools or tokenize would reach past the template in vLLM.
inline TemplateKwargs read_template_kwargs(const Json& kwargs, const std::string& path) {
  const Fields given(kwargs, path);
  for (const auto& [key, value] : kwargs.items())
    if (key != "add_vision_id" && key != "enable_thinking")
      throw bad_field(path, cat(path, ": has \"", clipped(key), "\", wanted add_vision_id or enable_thinking"));
  TemplateKwargs out;
  if (given.find("enable_thinking")) out.enable_thinking = given.boolean("enable_thinking");
  if (given.find("add_vision_id")) out.add_vision_id = given.boolean("add_vision_id");
  return out;
}

}  // namespace lamina::serve
