#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/serve/openai/request/chat/chat_messages.hpp>
#include <lamina/serve/openai/request/generation_request.hpp>
#include <lamina/serve/openai/request/template_kwargs.hpp>
#include <lamina/serve/openai/request/tool_fields.hpp>

namespace lamina::serve {

/// A chat completion request, checked: the fields that request_fields() calls work.
struct ChatRequest : GenerationRequest {
  ChatMessages chat;
  text::TemplateOptions template_options;
  std::optional<std::int64_t> min_pixels, max_pixels;  ///< mm_processor_kwargs, of images
  vision::FrameWish frames;                            ///< mm_processor_kwargs, of videos
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
    use_tools();
    read_logprobs();
    read_media();
    const Json* messages = fields_.maybe_list("messages");
    if (!messages) throw wrong_field("messages", "missing", "a list of messages");
    const auto& own = chat_.template_options.own;
    const text::PromptTemplate* used = own ? own.get() : limits_.chat_template;
    chat_.chat =
        read_messages(*messages, {limits_.max_images, limits_.max_videos}, used && used->names_role("developer"));
    read_echo();
  }

 private:
  void read_template() {
    auto& options = chat_.template_options;
    options.add_generation_prompt = fields_.boolean("add_generation_prompt", true);
    options.continue_final_message = fields_.boolean("continue_final_message");
    if (options.continue_final_message && options.add_generation_prompt)
      throw bad_field("continue_final_message",
                      "Cannot set both `continue_final_message` and `add_generation_prompt` to True.");
    if (const auto own = fields_.maybe_text("chat_template")) options.own = own_template(*own);
    const text::PromptTemplate* used = options.own ? options.own.get() : limits_.chat_template;
    read_variables(used);
    read_documents(used);
    const bool thinking = Fields(options.variables, "chat_template_kwargs").boolean("enable_thinking", true);
    chat_.message.reasoning = limits_.defaults.reasoning && thinking;
    chat_.message.show_reasoning = fields_.boolean("include_reasoning", true);
  }
  std::shared_ptr<const text::PromptTemplate> own_template(const std::string& given) const {
    if (!limits_.trust_chat_template)
      throw bad_field(
          "chat_template",
          "chat_template: Chat template is passed with request, but --trust-request-chat-template is not set. Refused "
          "request with untrusted chat template.");
    try {
      return std::make_shared<const text::PromptTemplate>("chat_template", given, *limits_.chat);
    } catch (const Error& e) {
      throw bad_field("chat_template", clipped(e.what(), 400));
    }
  }
  void read_variables(const text::PromptTemplate* used) {
    auto& variables = chat_.template_options.variables = limits_.defaults.template_kwargs;
    if (const auto effort = fields_.maybe_text("reasoning_effort")) {
      static constexpr std::string_view efforts[] = {"none", "minimal", "low", "medium", "high", "xhigh", "max"};
      if (std::find(std::begin(efforts), std::end(efforts), *effort) == std::end(efforts))
        throw wrong_field("reasoning_effort", shown(*effort), "none, minimal, low, medium, high, xhigh or max");
      if (used && used->reads("reasoning_effort")) variables["reasoning_effort"] = *effort;
    }
    const Json* given = fields_.find("chat_template_kwargs");
    if (!given) return;
    check_template_kwargs(*given, "chat_template_kwargs", used);
    for (const auto& [name, value] : given->items()) variables[name] = value;
  }
  void read_documents(const text::PromptTemplate* used) {
    const Json* documents = fields_.maybe_list("documents");
    if (!documents || documents->empty()) return;
    if (used && !used->reads("documents"))
      throw not_implemented("documents", "documents: the model's chat template has no place for them");
    for (std::size_t i = 0; i < documents->size(); ++i) {
      if (!(*documents)[i].is_object())
        throw wrong_field(cat("documents.", i), shown((*documents)[i]), "an object such as {\"title\", \"text\"}");
      chat_.template_options.documents.push_back((*documents)[i]);
    }
  }
  /// With echo the answer begins with the last message, if that is of the answer's role.
  void read_echo() {
    if (!fields_.boolean("echo")) return;
    const text::Message& last = chat_.chat.messages.back();
    if (chat_.template_options.add_generation_prompt && last.role != limits_.chat->assistant) return;
    for (const text::Part& part : last.parts) chat_.message.echo += part.text;
  }

  void use_tools() {
    const ToolRules rules{limits_.chat->tools, limits_.defaults.automatic_tools, limits_.defaults.exclude_unused_tools};
    ToolUse use = read_tools(body_, rules);
    chat_.template_options.tools = std::move(use.shown);
    if (use.calls) chat_.message.tools = rules.marks;
    chat_.message.one_call = use.one_call;
    chat_.message.named_tool = use.named;
    if (!use.structure) return;
    if (chat_.structure)
      throw bad_field(chat_.structure->field,
                      cat(chat_.structure->field, ": cannot be together with a tool_choice that asks for calls"));
    chat_.structure = std::move(use.structure);
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

  static constexpr std::int64_t most_pixels = 178956970;  ///< of one image, before Pillow warns

  /// The spelling of newer processors: numbers of pixels, whatever the names say. min_pixels and max_pixels win.
  void read_size(const Json& size) {
    const std::string path = "mm_processor_kwargs.size";
    const Fields fields(size, path);
    for (const auto& [key, value] : size.items())
      if (key != "shortest_edge" && key != "longest_edge")
        throw bad_field(path, cat(path, ": has \"", clipped(key), "\", wanted shortest_edge and longest_edge"));
    chat_.min_pixels = fields.maybe_integer("shortest_edge", 1, most_pixels);
    chat_.max_pixels = fields.maybe_integer("longest_edge", 1, most_pixels);
  }

  void read_media() {
    const Json* kwargs = fields_.find("mm_processor_kwargs");
    if (!kwargs) return;
    const Fields fields(*kwargs, "mm_processor_kwargs");
    for (const auto& [key, value] : kwargs->items())
      if (key != "min_pixels" && key != "max_pixels" && key != "size" && key != "fps" && key != "num_frames")
        throw bad_field("mm_processor_kwargs", cat("mm_processor_kwargs: has \"", clipped(key),
                                                   "\", wanted min_pixels, max_pixels, size, fps or num_frames"));
    if (const Json* size = fields.find("size")) read_size(*size);
    if (const auto least = fields.maybe_integer("min_pixels", 1, most_pixels)) chat_.min_pixels = least;
    if (const auto most = fields.maybe_integer("max_pixels", 1, most_pixels)) chat_.max_pixels = most;
    if (const auto fps = fields.maybe_number("fps", 0.001, 1000)) chat_.frames.fps = *fps;
    if (const auto count = fields.maybe_integer("num_frames", 1, 100000)) chat_.frames.num_frames = *count;
    if (chat_.frames.fps > 0 && chat_.frames.num_frames > 0)
      throw bad_field("mm_processor_kwargs", "mm_processor_kwargs: has fps and num_frames, wanted one of them");
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
