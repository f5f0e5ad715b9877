#pragma once
#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/serve/openai/request/chat/chat_request.hpp>
#include <lamina/serve/openai/responses/input_items.hpp>
#include <lamina/serve/openai/responses/request_places.hpp>
#include <lamina/serve/openai/responses/responses_fields.hpp>

namespace lamina::serve {

/// A request of /v1/responses, checked.
struct ResponsesRequest : ChatRequest {
  Json repeated;  ///< members of the response that come from the request
  std::shared_ptr<const RequestPlaces> places;
};

namespace detail {

/// Writes a request of /v1/responses as a chat request. What both call the same goes over as it is; mistakes in it are
/// found when the chat request is read.
class ResponsesTranslator {
 public:
  ResponsesTranslator(const Json& body, RequestPlaces& places) : fields_(body), places_(places) {}

  Json chat() {
    for (const char* name :
         {"model", "temperature", "top_p", "top_k", "repetition_penalty", "logit_bias", "seed", "stop", "ignore_eos",
          "include_stop_str_in_output", "skip_special_tokens", "structured_outputs", "stream", "priority", "cache_salt",
          "mm_processor_kwargs", "chat_template_kwargs", "parallel_tool_calls"})
      if (const Json* value = fields_.find(name)) out_[name] = *value;
    move("max_output_tokens", "max_tokens");
    if (const auto id = fields_.maybe_text("request_id")) out_["request_id"] = id->substr(id->starts_with("resp_") * 5);
    translate_input();
    translate_tools();
    translate_text();
    translate_reasoning();
    translate_logprobs();
    translate_truncation();
    return std::move(out_);
  }

 private:
  void move(const char* from, const char* to) {
    if (const Json* value = fields_.find(from)) out_[to] = *value;
    places_.add(to, from);
  }

  void translate_input() {
    Json messages = Json::array();
    if (const auto instructions = fields_.maybe_text("instructions")) {
      places_.add("messages.0", "instructions");
      messages.push_back({{"role", "system"}, {"content", *instructions}});
    }
    const Json* input = fields_.find("input");
    if (!input) throw wrong_field("input", "missing", "a text or a list of items");
    places_.add("messages", "input");
    if (input->is_string())
      messages.push_back({{"role", "user"}, {"content", *input}});
    else
      InputItems(places_, messages).add(*input);
    out_["messages"] = std::move(messages);
  }

  void translate_tools() {
    const Json* tools = fields_.maybe_list("tools");
    for (std::size_t i = 0; tools && i < tools->size(); ++i) {
      const std::string path = cat("tools.", i);
      places_.add(path + ".function", path);
      const Fields tool((*tools)[i], path);
      if (const std::string type = tool.text("type"); type != "function")
        throw not_implemented(path + ".type", cat(path, ".type: is ", clipped(type), ", a tool that this server does ",
                                                  "not run; wanted function"));
      Json function = Json::object();
      for (const char* name : {"name", "description", "parameters", "strict"})
        if (const Json* value = tool.find(name)) function[name] = *value;
      out_["tools"].push_back({{"type", "function"}, {"function", std::move(function)}});
    }
    translate_tool_choice();
  }
  void translate_tool_choice() {
    const Json* choice = fields_.find("tool_choice");
    if (!choice) return;
    if (choice->is_object()) {
      const Fields given(*choice, "tool_choice");
      if (const std::string type = given.text("type"); type != "function")
        throw not_implemented("tool_choice.type", cat("tool_choice.type: is ", clipped(type), ", wanted function"));
      out_["tool_choice"] = {{"type", "function"}, {"function", {{"name", given.text("name")}}}};
      places_.add("tool_choice.function", "tool_choice");
    } else if (out_.contains("tools") || *choice != "auto") {  // what clients send also without tools
      out_["tool_choice"] = *choice;
    }
  }

  void translate_text() {
    const Json* text = fields_.find("text");
    if (!text) return;
    const Fields given(*text, "text");
    if (const auto verbosity = given.maybe_text("verbosity"); verbosity && *verbosity != "medium")
      throw not_implemented("text.verbosity",
                            "text.verbosity: is not supported by this server: the model has no such " +
                                std::string("setting; wanted medium, or nothing"));
    const Json* format = given.find("format");
    if (!format) return;
    const Fields own(*format, "text.format");
    const std::string type = own.text("type");
    if (type != "text" && type != "json_object" && type != "json_schema")
      throw wrong_field("text.format.type", clipped(type), "text, json_object or json_schema");
    places_.add("response_format", "text.format");
    places_.add("response_format.json_schema", "text.format");
    Json translated = {{"type", type}};
    if (type == "json_schema") translated["json_schema"] = *format;
    out_["response_format"] = std::move(translated);
  }

  void translate_reasoning() {
    const Json* reasoning = fields_.find("reasoning");
    if (!reasoning) return;
    const Fields given(*reasoning, "reasoning");
    for (const char* name : {"summary", "generate_summary"})
      if (const auto summary = given.maybe_text(name); summary && *summary != "auto")
        throw not_implemented(given.path(name), given.path(name) + ": is not supported by this server: it makes no " +
                                                    "summaries; the content of reasoning items has all thoughts");
    if (const auto effort = given.maybe_text("effort")) out_["reasoning_effort"] = *effort;
    places_.add("reasoning_effort", "reasoning.effort");
  }

  void translate_logprobs() {
    static constexpr std::string_view wanted = "message.output_text.logprobs";
    static constexpr std::string_view known[] = {wanted,
                                                 "code_interpreter_call.outputs",
                                                 "computer_call_output.output.image_url",
                                                 "file_search_call.results",
                                                 "message.input_image.image_url",
                                                 "reasoning.encrypted_content",
                                                 "web_search_call.action.sources"};
    bool logprobs = false;
    const Json* include = fields_.maybe_list("include");
    for (std::size_t i = 0; include && i < include->size(); ++i) {
      const Json& one = (*include)[i];
      if (!one.is_string() ||
          std::find(std::begin(known), std::end(known), one.get_ref<const std::string&>()) == std::end(known))
        throw wrong_field(cat("include.", i), shown(one), "message.output_text.logprobs");
      logprobs = logprobs || one == wanted;
    }
    const Json* top = fields_.find("top_logprobs");
    if (top && *top != 0) logprobs = true, out_["top_logprobs"] = *top;
    if (logprobs) out_["logprobs"] = true;
  }

  void translate_truncation() {
    const auto truncation = fields_.maybe_text("truncation");
    if (!truncation || *truncation == "disabled") return;
    if (*truncation != "auto") throw wrong_field("truncation", clipped(*truncation), "auto or disabled");
    out_["truncate_prompt_tokens"] = -1;
    places_.add("truncate_prompt_tokens", "truncation");
  }

  Fields fields_;
  RequestPlaces& places_;
  Json out_ = Json::object();
};

/// Refuses metadata that is more than 16 pairs of short texts, as OpenAI does.
inline void check_metadata(const Json& metadata) {
  const Fields given(metadata, "metadata");
  if (metadata.size() > 16) throw wrong_field("metadata", cat(metadata.size(), " pairs"), "at most 16");
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string()) throw wrong_field("metadata." + clipped(key), shown(value), "a string");
    if (count_characters(key) > 64 || count_characters(value.get_ref<const std::string&>()) > 512)
      throw bad_field("metadata", "metadata: keys have at most 64 characters, values at most 512");
  }
}

/// What the response says about its request.
inline Json repeated_members(const Json& body, const ChatRequest& read) {
  const auto given = [&](const char* name, Json otherwise = nullptr) {
    const auto at = body.find(name);
    return at == body.end() || at->is_null() ? otherwise : *at;
  };
  const auto& sampling = read.params.sampling;
  return {{"instructions", given("instructions")},
          {"metadata", given("metadata", Json::object())},
          {"max_output_tokens", read.max_tokens ? Json(*read.max_tokens) : Json()},
          {"parallel_tool_calls", !read.message.one_call},
          {"previous_response_id", nullptr},
          {"reasoning", given("reasoning")},
          {"service_tier", "default"},
          {"store", false},
          {"background", false},
          {"temperature", sampling.temperature},
          {"text", given("text", {{"format", {{"type", "text"}}}})},
          {"tool_choice", given("tool_choice", "auto")},
          {"tools", given("tools", Json::array())},
          {"top_logprobs", sampling.top_logprobs},
          {"top_p", sampling.top_p},
          {"truncation", given("truncation", "disabled")}};
}

}  // namespace detail

/// Checks and reads a request of /v1/responses. Errors are ApiErrors that name the fields as they were sent.
inline ResponsesRequest read_responses_request(const Json& body, const RequestLimits& limits,
                                               const GenerationDefaults& defaults) {
  ResponsesRequest out;
  auto unknown = check_request_fields(body, responses_fields(), {});
  if (const Json* metadata = Fields(body).find("metadata")) detail::check_metadata(*metadata);
  const auto places = std::make_shared<RequestPlaces>();
  const Json chat = detail::ResponsesTranslator(body, *places).chat();
  static_cast<ChatRequest&>(out) = places->guard([&] { return read_chat_request(chat, limits, defaults); });
  out.unknown_fields = std::move(unknown);
  out.repeated = detail::repeated_members(body, out);
  out.places = places;
  return out;
}

}  // namespace lamina::serve
