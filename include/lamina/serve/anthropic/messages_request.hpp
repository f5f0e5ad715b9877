#pragma once
#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/serve/openai/request/chat/chat_request.hpp>

namespace lamina::serve {

namespace detail {

/// Writes a request of Anthropic's /v1/messages as a chat request. What both call the same goes over as it is; mistakes
/// in it are found when the chat request is read.
class MessagesTranslator {
 public:
  explicit MessagesTranslator(const Json& body) : fields_(body) {}

  Json chat() {
    if (!fields_.find("max_tokens")) throw wrong_field("max_tokens", "missing", "the most tokens of the answer");
    for (const char* name : {"model", "max_tokens", "temperature", "top_p", "top_k", "stream", "chat_template_kwargs"})
      if (const Json* value = fields_.find(name)) out_[name] = *value;
    if (const Json* stop = fields_.maybe_list("stop_sequences"); stop && !stop->empty()) out_["stop"] = *stop;
    out_["messages"] = Json::array();
    if (const Json* system = fields_.find("system")) add_system(*system);
    const Json* messages = fields_.maybe_list("messages");
    if (!messages || messages->empty())
      throw wrong_field("messages", messages ? "empty" : "missing", "a list of messages");
    for (std::size_t i = 0; i < messages->size(); ++i) add_message((*messages)[i], cat("messages.", i));
    translate_tools();
    translate_thinking();
    return std::move(out_);
  }
  /// Fields that nothing here reads, at most ten, fit for a log.
  std::vector<std::string> unknown_fields() const {
    static constexpr std::string_view known[] = {"model",
                                                 "max_tokens",
                                                 "temperature",
                                                 "top_p",
                                                 "top_k",
                                                 "stream",
                                                 "stop_sequences",
                                                 "system",
                                                 "messages",
                                                 "tools",
                                                 "thinking",
                                                 "tool_choice",
                                                 "chat_template_kwargs"};
    std::vector<std::string> out;
    for (const auto& [name, value] : fields_.json().items())
      if (out.size() < 10 && std::find(std::begin(known), std::end(known), name) == std::end(known))
        out.push_back(printable(name, 64));
    return out;
  }

 private:
  void add_system(const Json& system) {
    if (system.is_string() && system.get_ref<const std::string&>().empty()) return;
    out_["messages"].push_back({{"role", "system"}, {"content", texts_of(system, "system")}});
  }
  /// A text, or text blocks, as parts of a chat message.
  static Json texts_of(const Json& content, const std::string& path) {
    if (content.is_string()) return content;
    if (!content.is_array()) throw wrong_field(path, shown(content), "a text or a list of blocks");
    Json parts = Json::array();
    for (std::size_t i = 0; i < content.size(); ++i) {
      const Fields block(content[i], cat(path, ".", i));
      if (block.text("type") != "text")
        throw wrong_field(cat(path, ".", i, ".type"), shown(block.require("type")), "text");
      parts.push_back({{"type", "text"}, {"text", block.text("text")}});
    }
    return parts;
  }

  void add_message(const Json& json, const std::string& path) {
    const Fields message(json, path);
    const std::string role = message.text("role");
    if (role != "user" && role != "assistant") throw wrong_field(path + ".role", clipped(role), "user or assistant");
    const Json& content = message.require("content");
    if (content.is_string()) {
      out_["messages"].push_back({{"role", role}, {"content", content}});
      return;
    }
    if (!content.is_array()) throw wrong_field(path + ".content", shown(content), "a text or a list of blocks");
    Json parts = Json::array(), calls = Json::array();
    for (std::size_t i = 0; i < content.size(); ++i) {
      const std::string at = cat(path, ".content.", i);
      const Fields block(content[i], at);
      add_block(block, block.text("type"), at, parts, calls);
    }
    if (role == "user" && parts.empty()) return;  // results alone
    Json out = {{"role", role}, {"content", parts.empty() ? Json() : std::move(parts)}};
    if (!calls.empty()) out["tool_calls"] = std::move(calls);
    out_["messages"].push_back(std::move(out));
  }
  void add_block(const Fields& block, const std::string& type, const std::string& at, Json& parts, Json& calls) {
    if (type == "text") {
      parts.push_back({{"type", "text"}, {"text", block.text("text")}});
    } else if (type == "image") {
      parts.push_back({{"type", "image_url"}, {"image_url", {{"url", url_of(block.object("source"), at)}}}});
    } else if (type == "tool_use") {
      const Json* input = block.find("input");
      calls.push_back({{"id", block.text("id", "")},
                       {"type", "function"},
                       {"function", {{"name", block.text("name")}, {"arguments", input ? *input : Json::object()}}}});
    } else if (type == "tool_result") {
      const Json* content = block.find("content");
      out_["messages"].push_back({{"role", "tool"},
                                  {"tool_call_id", block.text("tool_use_id", "")},
                                  {"content", content ? texts_of(*content, at + ".content") : Json("")}});
    } else if (type != "thinking" && type != "redacted_thinking") {  // a model reads no thoughts of earlier turns
      throw wrong_field(at + ".type", clipped(type), "text, image, tool_use, tool_result or thinking");
    }
  }
  static std::string url_of(const Fields& source, const std::string& at) {
    const std::string type = source.text("type");
    if (type == "url") return source.text("url");
    if (type != "base64") throw wrong_field(at + ".source.type", clipped(type), "base64 or url");
    return cat("data:", source.text("media_type", "image/png"), ";base64,", source.text("data"));
  }

  void translate_tools() {
    const Json* tools = fields_.maybe_list("tools");
    for (std::size_t i = 0; tools && i < tools->size(); ++i) {
      const Fields tool((*tools)[i], cat("tools.", i));
      Json function = {{"name", tool.text("name")}};
      if (const auto description = tool.maybe_text("description")) function["description"] = *description;
      if (const Json* schema = tool.find("input_schema")) function["parameters"] = *schema;
      out_["tools"].push_back({{"type", "function"}, {"function", std::move(function)}});
    }
    const Json* choice = fields_.find("tool_choice");
    if (!choice) return;
    const Fields given(*choice, "tool_choice");
    const std::string type = given.text("type");
    if (given.boolean("disable_parallel_tool_use")) out_["parallel_tool_calls"] = false;
    if (type == "tool")
      out_["tool_choice"] = {{"type", "function"}, {"function", {{"name", given.text("name")}}}};
    else if (type == "any")
      out_["tool_choice"] = "required";
    else if (type == "auto" || type == "none")
      out_["tool_choice"] = out_.contains("tools") ? type : "none";
    else
      throw wrong_field("tool_choice.type", clipped(type), "auto, any, tool or none");
  }

  /// A budget of thoughts is not kept: max_tokens bounds the answer with its thought.
  void translate_thinking() {
    const Json* thinking = fields_.find("thinking");
    if (!thinking) return;
    const std::string type = Fields(*thinking, "thinking").text("type");
    if (type != "enabled" && type != "disabled" && type != "adaptive")
      throw wrong_field("thinking.type", clipped(type), "enabled, adaptive or disabled");
    if (type == "disabled") out_["chat_template_kwargs"]["enable_thinking"] = false;
  }

  Fields fields_;
  Json out_ = Json::object();
};

}  // namespace detail

/// Checks and reads a request of Anthropic's /v1/messages. Errors are ApiErrors.
inline ChatRequest read_messages_request(const Json& body, const RequestLimits& limits,
                                         const GenerationDefaults& defaults) {
  detail::MessagesTranslator translator(body);
  ChatRequest out = read_chat_request(translator.chat(), limits, defaults);
  out.unknown_fields = translator.unknown_fields();
  return out;
}

}  // namespace lamina::serve
