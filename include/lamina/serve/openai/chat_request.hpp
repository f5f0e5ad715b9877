#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <lamina/serve/openai/chat_messages.hpp>
#include <lamina/serve/openai/generation_request.hpp>
#include <lamina/serve/openai/template_kwargs.hpp>

namespace lamina::serve {

/// A chat completion request, checked: the fields that request_fields() calls work.
struct ChatRequest : GenerationRequest {
  ChatMessages chat;
  text::TemplateOptions template_options;
  std::optional<std::int64_t> min_pixels, max_pixels;  ///< mm_processor_kwargs
};

namespace detail {

/// Reads the fields of a chat request in groups, each a part of the API.
class ChatRequestReader : GenerationReader {
 public:
  ChatRequestReader(const Json& body, const RequestLimits& limits, const GenerationDefaults& defaults, ChatRequest& out)
      : GenerationReader(body, limits, defaults, out), chat_(out) {}

  void read() {
    chat_.unknown_fields = check_request_fields(body_);
    read_template();
    for (const char* name : {"max_completion_tokens", "max_tokens"})
      if (const auto n = fields_.maybe_integer(name, 1, any); n && !chat_.max_tokens)
        chat_.max_tokens = static_cast<int>(*n);
    read_shared();
    read_logprobs();
    read_media();
    const Json* messages = fields_.maybe_list("messages");
    if (!messages) throw wrong_field("messages", "missing", "a list of messages");
    chat_.chat = read_messages(*messages, *limits_.chat, limits_.max_images);
  }

 private:
  void read_template() {
    auto& options = chat_.template_options;
    options.add_generation_prompt = fields_.boolean("add_generation_prompt", true);
    options.add_vision_id = limits_.defaults.add_vision_id;
    if (const Json* kwargs = fields_.find("chat_template_kwargs"))
      options.add_vision_id =
          read_template_kwargs(*kwargs, "chat_template_kwargs").add_vision_id.value_or(options.add_vision_id);
    read_tools();
  }

  void read_tools() {
    const Json* tools = fields_.maybe_list("tools");
    const Json* choice = fields_.find("tool_choice");
    if (tools && tools->empty()) throw wrong_field("tools", "empty", "at least one tool; leave it out instead");
    if (choice && !choice->is_string() && !choice->is_object())
      fields_.wrong("tool_choice", *choice, "none, auto, required or an object that names a function");
    const std::string wanted = !choice               ? (tools ? "auto" : "none")
                               : choice->is_string() ? choice->get<std::string>()
                                                     : "named";
    if (!tools && wanted != "none")
      throw wrong_field("tool_choice", clipped(wanted), "none, because the request has no tools");
    if (tools && wanted != "none")
      throw not_implemented("tool_choice",
                            cat("tool_choice: is ", choice ? clipped(wanted) : "missing, which means auto",
                                ", wanted none, which shows the tools to the model: calls are not read from answers "
                                "yet"));
    if (!tools || limits_.defaults.exclude_unused_tools) return;
    for (std::size_t i = 0; i < tools->size(); ++i) {
      if (!(*tools)[i].is_object()) throw wrong_field(cat("tools.", i), shown((*tools)[i]), "an object");
      chat_.template_options.tools.push_back(text::python_json((*tools)[i]));
    }
  }

  void read_logprobs() {
    auto& s = chat_.params.sampling;
    s.logprobs = fields_.boolean("logprobs");
    const bool unlimited = limits_.max_logprobs < 0;
    const auto top = fields_.maybe_integer("top_logprobs", unlimited ? -1 : 0, unlimited ? any : limits_.max_logprobs);
    if (top.value_or(0) != 0 && !s.logprobs)
      throw wrong_field("top_logprobs", cat(*top), "0 or nothing, because logprobs is not true");
    s.top_logprobs = static_cast<int>(top.value_or(0));
  }

  void read_media() {
    const Json* kwargs = fields_.find("mm_processor_kwargs");
    if (!kwargs) return;
    const Fields fields(*kwargs, "mm_processor_kwargs");
    for (const auto& [key, value] : kwargs->items())
      if (key != "min_pixels" && key != "max_pixels")
        throw bad_field("mm_processor_kwargs",
                        cat("mm_processor_kwargs: has \"", clipped(key), "\", wanted min_pixels or max_pixels"));
    chat_.min_pixels = fields.maybe_integer("min_pixels", 1, 178956970);
    chat_.max_pixels = fields.maybe_integer("max_pixels", 1, 178956970);
  }

  ChatRequest& chat_;
};

}  // namespace detail

/// Checks and reads a chat completion request. Fields that vLLM does not have are ignored and listed; what
/// request_fields() refuses is an ApiError, as is everything of a wrong type or out of range.
inline ChatRequest read_chat_request(const Json& body, const RequestLimits& limits,
                                     const GenerationDefaults& defaults) {
  ChatRequest out;
  detail::ChatRequestReader(body, limits, defaults, out).read();
  return out;
}

}  // namespace lamina::serve
