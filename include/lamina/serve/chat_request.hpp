#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lamina/serve/chat_messages.hpp>
#include <lamina/serve/generate.hpp>
#include <lamina/serve/json_fields.hpp>
#include <lamina/serve/model_files.hpp>

namespace lamina::serve {

/// What a request is checked against.
struct RequestLimits {
  text::Family family = text::Family::qwen3_vl;
  int vocab_size = 0, max_model_len = 0;
  int max_images = 999, max_logprobs = 20, max_choices = 128;
};

/// A chat completion request, checked; see B.2 of the OpenAI and vLLM API.
struct ChatRequest {
  std::optional<std::string> model;  ///< absent: the first served name
  ChatMessages chat;
  text::TemplateOptions template_options;
  GenerationParams params;                             ///< `eos` and the final max_tokens are the server's to fill in
  std::optional<int> max_tokens;                       ///< as given; absent: the rest of the context
  std::optional<std::int64_t> seed;                    ///< absent: a stream of the server's own
  std::optional<std::int64_t> min_pixels, max_pixels;  ///< mm_processor_kwargs
  std::optional<std::string> request_id;
  int choices = 1;
  bool stream = false, include_usage = false, continuous_usage = false;
  bool return_tokens_as_ids = false;
};

namespace detail {

/// Reads the fields of a chat request in groups, each a part of the API.
class ChatRequestReader {
 public:
  ChatRequestReader(const Json& body, const RequestLimits& limits, const GenerationDefaults& defaults)
      : fields_(body), limits_(limits), defaults_(defaults) {}

  ChatRequest read() {
    refuse_what_is_missing();
    out_.model = fields_.text("model");
    out_.request_id = fields_.text("request_id");
    read_template();
    read_lengths();
    read_sampling();
    read_logprobs();
    read_ends();
    read_stream();
    read_media();
    const Json* messages = fields_.list("messages");
    if (!messages) throw bad_field("messages", "messages: is missing, wanted a list of messages");
    out_.chat = read_messages(*messages, limits_.family, limits_.max_images);
    return std::move(out_);
  }

 private:
  static constexpr int any = std::numeric_limits<int>::max();

  void refuse_what_is_missing() {
    static constexpr const char* unsupported[] = {
        "structured_outputs", "guided_json",     "guided_regex",     "guided_choice",
        "guided_grammar",     "bad_words",       "prompt_logprobs",  "truncate_prompt_tokens",
        "documents",          "media_io_kwargs", "logits_processors"};
    for (const char* name : unsupported)
      if (fields_.find(name)) throw not_implemented(name, cat(name, ": is not supported by this server"));
    if (fields_.flag("use_beam_search")) throw not_implemented("use_beam_search", "use_beam_search: is not supported");
    if (fields_.find("chat_template"))
      throw bad_field("chat_template", "chat_template: templates in requests are refused");
    if (const Json* format = fields_.find("response_format")) {
      const auto type = Fields(*format, "response_format").text("type").value_or("missing");
      if (type == "json_object" || type == "json_schema")
        throw not_implemented("response_format", cat("response_format: ", type, " is not supported by this server"));
      if (type != "text")
        throw bad_field("response_format.type", "response_format.type: is " + clipped(type) + ", wanted text");
    }
  }

  void read_template() {
    auto& options = out_.template_options;
    options.add_generation_prompt = fields_.flag("add_generation_prompt", true);
    if (fields_.flag("continue_final_message"))
      throw not_implemented("continue_final_message", "continue_final_message: is not supported by this server");
    if (fields_.flag("echo")) throw not_implemented("echo", "echo: is not supported by this server");
    if (const Json* kwargs = fields_.find("chat_template_kwargs")) {
      const Fields given(*kwargs, "chat_template_kwargs");
      for (const auto& [key, value] : kwargs->items())
        if (key != "add_vision_id" && key != "enable_thinking")
          throw bad_field("chat_template_kwargs",
                          cat("chat_template_kwargs: ", clipped(key), " is not a setting of the template"));
      options.add_vision_id = given.flag("add_vision_id");
    }
    const Json* tools = fields_.list("tools");
    const Json* choice = fields_.find("tool_choice");
    if (tools && tools->empty()) throw bad_field("tools", "tools: is empty; leave it out instead");
    const std::string wanted = !choice               ? (tools ? "auto" : "none")
                               : choice->is_string() ? choice->get<std::string>()
                                                     : "named";
    if (!tools && wanted != "none") throw bad_field("tool_choice", "tool_choice: needs tools");
    if (tools && wanted != "none")
      throw not_implemented("tool_choice",
                            "tool_choice: this server does not read tool calls from the answer; "
                            "\"none\" shows the tools to the model");
    if (tools)
      for (const auto& tool : *tools) options.tools.push_back(text::python_json(tool));
  }

  void read_lengths() {
    for (const char* name : {"max_completion_tokens", "max_tokens"})
      if (const auto n = fields_.integer(name, 1, any); n && !out_.max_tokens) out_.max_tokens = static_cast<int>(*n);
    out_.choices = static_cast<int>(fields_.integer("n", 1, limits_.max_choices).value_or(1));
    auto& sampling = out_.params.sampling;
    sampling.min_tokens = static_cast<int>(fields_.integer("min_tokens", 0, any).value_or(0));
    if (out_.max_tokens && sampling.min_tokens > *out_.max_tokens)
      throw bad_field("min_tokens",
                      cat("min_tokens: is ", sampling.min_tokens, ", more than max_tokens ", *out_.max_tokens));
  }

  void read_sampling() {
    auto& s = out_.params.sampling;
    s.temperature = fields_.number("temperature", 0, 2).value_or(defaults_.temperature.value_or(1));
    if (!s.greedy() && s.temperature < 0.01) s.temperature = 0.01;  // as vLLM: smaller ones overflow
    s.top_p = fields_.number("top_p", std::numeric_limits<double>::min(), 1).value_or(defaults_.top_p.value_or(1));
    s.top_k = static_cast<int>(fields_.integer("top_k", -1, any).value_or(defaults_.top_k.value_or(0)));
    s.min_p = fields_.number("min_p", 0, 1).value_or(defaults_.min_p.value_or(0));
    s.repetition_penalty = fields_.number("repetition_penalty", std::numeric_limits<double>::min(), 1e6)
                               .value_or(defaults_.repetition_penalty.value_or(1));
    s.presence_penalty = fields_.number("presence_penalty", -2, 2).value_or(defaults_.presence_penalty.value_or(0));
    s.frequency_penalty = fields_.number("frequency_penalty", -2, 2).value_or(defaults_.frequency_penalty.value_or(0));
    out_.seed =
        fields_.integer("seed", std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
    if (out_.seed == -1) out_.seed.reset();
    if (out_.choices > 1 && s.greedy())
      throw bad_field("n", cat("n: is ", out_.choices, ", must be 1 when temperature is 0"));
    if (const Json* bias = fields_.find("logit_bias")) {
      const Fields checked(*bias, "logit_bias");
      for (const auto& [key, value] : bias->items()) {
        if (!value.is_null()) s.logit_bias.emplace_back(token_id(key), checked.number(key.c_str(), value, -1e6, 1e6));
      }
    }
    s.allowed_token_ids = token_ids("allowed_token_ids");
  }

  int token_id(const std::string& key) const {
    const bool digits = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == std::string::npos;
    const int id = digits ? std::stoi(key) : -1;
    if (id < 0 || id >= limits_.vocab_size)
      throw bad_field("logit_bias", cat("logit_bias: ", clipped(key), " is not a token id below ", limits_.vocab_size));
    return id;
  }
  std::vector<int> token_ids(const char* name) const {
    std::vector<int> ids;
    const Json* list = fields_.list(name);
    if (!list) return ids;
    if (list->size() > static_cast<std::size_t>(limits_.vocab_size)) fields_.wrong(name, *list, "a shorter list");
    for (const auto& id : *list) {
      if (!id.is_number_integer() || id < 0 || id >= limits_.vocab_size)
        throw bad_field(name, cat(name, ": ", clipped(id.dump()), " is not a token id below ", limits_.vocab_size));
      ids.push_back(id.get<int>());
    }
    return ids;
  }

  void read_logprobs() {
    auto& s = out_.params.sampling;
    s.logprobs = fields_.flag("logprobs");
    const bool unlimited = limits_.max_logprobs < 0;
    const auto top = fields_.integer("top_logprobs", unlimited ? -1 : 0, unlimited ? any : limits_.max_logprobs);
    if (top.value_or(0) != 0 && !s.logprobs) throw bad_field("top_logprobs", "top_logprobs: needs logprobs to be true");
    s.top_logprobs = static_cast<int>(top.value_or(0));
    out_.return_tokens_as_ids = fields_.flag("return_tokens_as_token_ids");
  }

  void read_ends() {
    auto& params = out_.params;
    if (const Json* stop = fields_.find("stop")) {
      const Json list = stop->is_string() ? Json::array({*stop}) : *stop;
      if (!list.is_array()) fields_.wrong("stop", *stop, "a string or a list of strings");
      if (list.size() > 64) throw bad_field("stop", cat("stop: ", list.size(), " strings, at most 64"));
      for (const auto& text : list) {
        if (!text.is_string()) fields_.wrong("stop", text, "a string or a list of strings");
        params.stop.push_back(text.get<std::string>());
        if (params.stop.back().empty()) throw bad_field("stop", "stop: must not hold an empty string");
        if (params.stop.back().size() > 1024) throw bad_field("stop", "stop: a string is longer than 1024 bytes");
      }
    }
    params.stop_token_ids = token_ids("stop_token_ids");
    params.include_stop_str_in_output = fields_.flag("include_stop_str_in_output");
    params.ignore_eos = fields_.flag("ignore_eos");
    params.skip_special_tokens = fields_.flag("skip_special_tokens", true);
  }

  void read_stream() {
    out_.stream = fields_.flag("stream");
    const Json* options = fields_.find("stream_options");
    if (!options) return;
    if (!out_.stream) throw bad_field("stream_options", "stream_options: needs stream to be true");
    const Fields fields(*options, "stream_options");
    out_.include_usage = fields.flag("include_usage");
    out_.continuous_usage = out_.include_usage && fields.flag("continuous_usage_stats");
  }

  void read_media() {
    const Json* kwargs = fields_.find("mm_processor_kwargs");
    if (!kwargs) return;
    const Fields fields(*kwargs, "mm_processor_kwargs");
    for (const auto& [key, value] : kwargs->items())
      if (key != "min_pixels" && key != "max_pixels")
        throw bad_field("mm_processor_kwargs",
                        cat("mm_processor_kwargs: ", clipped(key), " is not known; wanted min_pixels or max_pixels"));
    out_.min_pixels = fields.integer("min_pixels", 1, 178956970);
    out_.max_pixels = fields.integer("max_pixels", 1, 178956970);
  }

  Fields fields_;
  const RequestLimits& limits_;
  const GenerationDefaults& defaults_;
  ChatRequest out_;
};

}  // namespace detail

/// Checks and reads a chat completion request. Fields that the API does not have are ignored; fields that it has and
/// this server has not are an ApiError, as is everything of a wrong type or out of range.
inline ChatRequest read_chat_request(const Json& body, const RequestLimits& limits,
                                     const GenerationDefaults& defaults) {
  return detail::ChatRequestReader(body, limits, defaults).read();
}

}  // namespace lamina::serve
