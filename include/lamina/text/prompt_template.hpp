#pragma once
#include <lamina/core/error.hpp>
#include <lamina/model/chat_format.hpp>
#include <lamina/text/jinja/parse/content_loop.hpp>
#include <lamina/text/jinja/template.hpp>
#include <lamina/text/prompt_segment.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Prompts of conversations, by the chat template of the model's folder or the one that its family released.
namespace lamina::text {

/// One item of a message's content. `text` is empty for images and videos: the template marks only their place.
struct Part {
  enum class Kind { text, image, video } kind = Kind::text;
  std::string text;
};

/// A function call that the assistant made. `arguments` is the text of a JSON object.
struct ToolCall {
  std::string name;
  std::string arguments;
  std::string id = {};
};

/// One turn. `plain` says that the content was a string, then held by text parts, and not a list of parts. Of the
/// optional members a template sees those that are there.
struct Message {
  std::string role;
  std::vector<Part> parts;
  bool plain = true;
  std::vector<ToolCall> tool_calls = {};
  std::optional<std::string> name = {}, tool_call_id = {}, reasoning = {};
};

class PromptTemplate;

struct TemplateOptions {
  bool add_generation_prompt = true;    ///< end with the opening of the assistant's turn
  bool continue_final_message = false;  ///< end inside the last message, behind its content
  std::vector<nlohmann::ordered_json> tools = {}, documents = {};
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();  ///< others, which the template may read
  std::shared_ptr<const PromptTemplate> own = {};                       ///< in place of the model's
};

/// A chat template with the file that it is from.
class PromptTemplate {
 public:
  PromptTemplate() = default;

  /// source: a file's name, for messages. special_tokens: variables that the folder gives it, such as eos_token.
  /// Error with source and line.
  PromptTemplate(std::string source, std::string_view text, const ChatFormat& format,
                 nlohmann::ordered_json special_tokens = nlohmann::ordered_json::object())
      : source_(std::move(source)), text_(text), format_(&format), special_tokens_(std::move(special_tokens)) {
    try {
      template_ = jinja::Template::compile(text);
    } catch (const jinja::TemplateError& e) {
      fail(source_, ": ", e.what());
    }
    reads_parts_ = jinja::loops_over_content(template_.block());
  }

  /// The family's own, for a folder without one.
  static PromptTemplate released(const ChatFormat& format) {
    if (format.released_template.empty()) fail(format.title, ": has no chat template of its own: give one");
    return {cat("the released template of ", format.title), format.released_template, format};
  }

  const std::string& source() const { return source_; }
  const std::string& text() const { return text_; }
  /// Does the template read a variable of this name?
  bool reads(std::string_view name) const { return template_.reads(name); }

  /// Does the template have turns of this role, as far as its text tells?
  bool names_role(std::string_view role) const {
    return text_.find(cat("'", role, "'")) != std::string::npos || text_.find(cat('"', role, '"')) != std::string::npos;
  }

  /// The prompt of a conversation, with the family's image_pad once for each image that the template shows, video_pad
  /// likewise. Errors: TemplateError with the line; RaisedByTemplate; Error for a final message that cannot be
  /// continued. Throws Cancelled.
  std::vector<PromptSegment> render(std::span<const Message> messages, const TemplateOptions& options = {},
                                    std::stop_token cancelled = {}) const {
    jinja::TemplateVariables variables;
    for (const auto& [name, token] : special_tokens_.items())
      variables.set(name, token, jinja::TemplateVariables::Author::model_folder);
    for (const auto& [name, value] : options.variables.items()) variables.set(name, value);
    variables.set("tools", options.tools.empty() ? Json() : Json(options.tools));
    variables.set("documents", options.documents.empty() ? Json() : Json(options.documents));
    variables.set("add_generation_prompt", options.add_generation_prompt);
    if (options.continue_final_message) return continued(messages, variables, std::move(cancelled));
    variables.set_value("messages", list_of(messages, variables));
    return template_.render(variables, std::move(cancelled));
  }

 private:
  using Json = nlohmann::ordered_json;
  using Author = jinja::TemplateVariables::Author;

  class DictBuilder {
   public:
    void set(std::string_view key, jinja::Value value) {
      dict_->set(jinja::Value::words(std::string(key)), std::move(value));
    }
    jinja::Value finish() { return std::shared_ptr<const jinja::Dict>(std::move(dict_)); }

   private:
    std::shared_ptr<jinja::Dict> dict_ = std::make_shared<jinja::Dict>();
  };

  jinja::Value list_of(std::span<const Message> messages, jinja::TemplateVariables& variables) const {
    std::vector<jinja::Value> out;
    for (const Message& message : messages) out.push_back(dict_of(message, variables));
    return jinja::make_list(std::move(out));
  }

  jinja::Value dict_of(const Message& message, jinja::TemplateVariables& variables) const {
    DictBuilder out;
    out.set("role", variables.text(message.role));
    out.set("content", content_of(message, variables));
    if (!message.tool_calls.empty()) {
      std::vector<jinja::Value> calls;
      for (const ToolCall& call : message.tool_calls) calls.push_back(dict_of(call, variables));
      out.set("tool_calls", jinja::make_list(std::move(calls)));
    }
    if (message.name) out.set("name", variables.text(*message.name));
    if (message.tool_call_id) out.set("tool_call_id", variables.text(*message.tool_call_id));
    if (message.reasoning)
      for (const char* key : {"reasoning_content", "reasoning", "thinking"})
        out.set(key, variables.text(*message.reasoning));
    return out.finish();
  }
  static jinja::Value dict_of(const ToolCall& call, jinja::TemplateVariables& variables) {
    DictBuilder function, out;
    function.set("name", variables.text(call.name));
    function.set("arguments", variables.value(Json::parse(call.arguments)));
    if (!call.id.empty()) out.set("id", variables.text(call.id));
    out.set("type", jinja::Value::words("function"));
    out.set("function", function.finish());
    return out.finish();
  }

  jinja::Value content_of(const Message& message, jinja::TemplateVariables& variables) const {
    if (message.plain) {
      std::string text;
      for (const Part& part : message.parts) text += part.text;
      return variables.text(std::move(text));
    }
    if (!reads_parts_) return joined_content(message, variables);
    std::vector<jinja::Value> parts;
    for (const Part& part : message.parts) {
      static constexpr const char* types[] = {"text", "image", "video"};
      DictBuilder item;
      item.set("type", jinja::Value::words(types[static_cast<int>(part.kind)]));
      if (part.kind == Part::Kind::text) item.set("text", variables.text(part.text));
      parts.push_back(item.finish());
    }
    return jinja::make_list(std::move(parts));
  }
  /// For a template that knows only strings: images first, then the texts, each on lines of its own.
  /// source  vLLM, _get_full_multimodal_text_prompt
  jinja::Value joined_content(const Message& message, jinja::TemplateVariables& variables) const {
    jinja::AuthoredText images, texts;
    for (const Part& part : message.parts) {
      const bool is_text = part.kind == Part::Kind::text;
      const auto pad = part.kind == Part::Kind::image ? format_->image_pad : format_->video_pad;
      auto& out = is_text ? texts : images;
      if (!out.empty()) out.append("\n");
      out.append(is_text ? *variables.text(part.text).text()
                         : jinja::AuthoredText(cat(format_->image_begin, pad, format_->image_end), false));
    }
    if (!images.empty() && !texts.empty()) images.append("\n");
    images.append(texts);
    return images;
  }

  /// The prompt up to the end of the last message's content, which a mark behind the content finds in the whole.
  /// source  transformers, render_jinja_template
  std::vector<PromptSegment> continued(std::span<const Message> messages, jinja::TemplateVariables& variables,
                                       std::stop_token cancelled) const {
    static constexpr std::string_view mark = "CONTINUE_FINAL_MESSAGE_TAG ", word = mark.substr(0, mark.size() - 1);
    std::vector<Message> marked(messages.begin(), messages.end());
    const auto last_text = [&]() -> Part* {
      if (marked.empty()) return nullptr;
      auto& parts = marked.back().parts;
      const auto found =
          std::find_if(parts.rbegin(), parts.rend(), [](const Part& part) { return part.kind == Part::Kind::text; });
      return found == parts.rend() ? nullptr : &*found;
    };
    Part* part = last_text();
    if (!part) fail("continue_final_message: the last message has no text that could go on");
    part->text += mark;
    variables.set_value("messages", list_of(marked, variables));
    auto prompt = template_.render(variables, std::move(cancelled));
    const std::string whole = joined(prompt);
    const std::size_t found = whole.rfind(word);
    if (found == whole.npos) fail("continue_final_message: the chat template does not write the last message's text");
    std::size_t end = found;
    if (whole.compare(found, mark.size(), mark) != 0)  // the template strips what ends a message
      while (end > 0 && is_python_space(static_cast<unsigned char>(whole[end - 1]))) --end;
    return first_bytes(std::move(prompt), end);
  }
  static std::vector<PromptSegment> first_bytes(std::vector<PromptSegment> prompt, std::size_t bytes) {
    std::vector<PromptSegment> out;
    for (PromptSegment& segment : prompt) {
      const std::size_t size = std::min(bytes, segment.text.size());
      append_segment(out, std::string_view(segment.text).substr(0, size), segment.is_template);
      bytes -= size;
    }
    return out;
  }

  std::string source_, text_;
  const ChatFormat* format_ = nullptr;
  Json special_tokens_ = Json::object();
  jinja::Template template_;
  bool reads_parts_ = true;
};

}  // namespace lamina::text
