#pragma once
#include <lamina/core/error.hpp>
#include <lamina/text/prompt_segment.hpp>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// The chat templates of Qwen2.5-VL-Instruct and Qwen3-VL-Instruct, written out: text equal to what Jinja makes of the
/// templates that the models ship (tests/reference/chat_templates/).
namespace lamina::text {

enum class Family { qwen2_5_vl, qwen3_vl };

/// One item of a message's content. `text` is empty for images and videos: the template marks only their place.
struct Part {
  enum class Kind { text, image, video } kind = Kind::text;
  std::string text;
};

/// A function call that the assistant made. `arguments` is JSON text, written as it is (see python_json).
struct ToolCall {
  std::string name;
  std::string arguments;
};

/// One turn. `plain` says that the content was a string, then held by text parts, and not a list of parts.
struct Message {
  std::string role;
  std::vector<Part> parts;
  bool plain = true;
  std::vector<ToolCall> tool_calls;
};

struct TemplateOptions {
  bool add_generation_prompt = true;  ///< end with the opening of the assistant's turn
  bool add_vision_id = false;         ///< "Picture 1: " before the first image, and so on
  std::vector<std::string> tools;     ///< each as python_json writes it; Qwen2.5-VL's template has no tools
};

inline constexpr std::string_view image_pad = "<|image_pad|>";

namespace detail {

/// Writes one conversation; the counters of images and videos run through all of it.
class ChatWriter {
 public:
  ChatWriter(std::span<const Message> messages, const TemplateOptions& options)
      : messages_(messages), options_(options) {}

  std::vector<PromptSegment> qwen2_5_vl() {
    if (!messages_.empty() && messages_[0].role != "system") {
      add("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n");
    }
    for (const Message& message : messages_) {
      add("<|im_start|>");
      quote(message.role);
      add("\n");
      content(message);
      add("<|im_end|>\n");
    }
    return finish();
  }

  std::vector<PromptSegment> qwen3_vl() {
    if (messages_.empty()) fail("chat template of Qwen3-VL: no messages, wanted at least one");
    preamble();
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      const Message& message = messages_[i];
      if (message.role == "user") {
        add("<|im_start|>user\n");
        content(message);
        add("<|im_end|>\n");
      } else if (message.role == "assistant") {
        assistant(message);
      } else if (message.role == "tool") {
        tool_response(i);
      }  // other roles, and system messages after the first message, are left out
    }
    return finish();
  }

 private:
  /// The template's own words.
  template <class... Words>
  void add(const Words&... words) {
    (append_segment(out_, words, true), ...);
  }
  /// What the conversation says.
  void quote(std::string_view text) { append_segment(out_, text, false); }

  std::vector<PromptSegment> finish() {
    if (options_.add_generation_prompt) add("<|im_start|>assistant\n");
    return std::move(out_);
  }

  void content(const Message& message) {
    for (const Part& part : message.parts) {
      if (part.kind == Part::Kind::text) {
        quote(part.text);
      } else if (part.kind == Part::Kind::image) {
        ++images_;
        if (options_.add_vision_id) add("Picture ", std::to_string(images_), ": ");
        add("<|vision_start|><|image_pad|><|vision_end|>");
      } else {
        ++videos_;
        if (options_.add_vision_id) add("Video ", std::to_string(videos_), ": ");
        add("<|vision_start|><|video_pad|><|vision_end|>");
      }
    }
  }

  /// Only the text: images of system and assistant messages are left out, uncounted.
  void text_of(const Message& message) {
    for (const Part& part : message.parts) {
      if (part.kind == Part::Kind::text) quote(part.text);
    }
  }

  /// The system turn: the system message, if it is the first message, and the tools.
  void preamble() {
    const bool system = messages_[0].role == "system";
    if (!system && options_.tools.empty()) return;
    add("<|im_start|>system\n");
    if (system) text_of(messages_[0]);
    if (!options_.tools.empty()) {
      if (system) add("\n\n");
      add("# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
          "You are provided with function signatures within <tools></tools> XML tags:\n<tools>");
      for (const std::string& tool : options_.tools) {
        add("\n");
        quote(tool);
      }
      add("\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
          "<tool_call></tool_call> XML tags:\n<tool_call>\n"
          "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>");
    }
    add("<|im_end|>\n");
  }

  void assistant(const Message& message) {
    add("<|im_start|>assistant\n");
    text_of(message);
    // Jinja's truth: a string is true if not empty, a list if it has items, whatever they hold.
    const auto has_text = [](const Part& part) { return !part.text.empty(); };
    bool line_break =
        message.plain ? std::any_of(message.parts.begin(), message.parts.end(), has_text) : !message.parts.empty();
    for (const ToolCall& call : message.tool_calls) {
      if (line_break) add("\n");
      line_break = true;
      add("<tool_call>\n{\"name\": \"");
      quote(call.name);
      add("\", \"arguments\": ");
      quote(call.arguments);
      add("}\n</tool_call>");
    }
    add("<|im_end|>\n");
  }

  /// Tool messages that follow each other share one user turn.
  void tool_response(std::size_t i) {
    if (i == 0 || messages_[i - 1].role != "tool") add("<|im_start|>user");
    add("\n<tool_response>\n");
    content(messages_[i]);
    add("\n</tool_response>");
    if (i + 1 == messages_.size() || messages_[i + 1].role != "tool") add("<|im_end|>\n");
  }

  std::span<const Message> messages_;
  const TemplateOptions& options_;
  std::vector<PromptSegment> out_;
  int images_ = 0, videos_ = 0;
};

}  // namespace detail

/// The prompt of a conversation, with one <|image_pad|> for each image.
inline std::vector<PromptSegment> render(Family family, std::span<const Message> messages,
                                         const TemplateOptions& options = {}) {
  detail::ChatWriter writer(messages, options);
  return family == Family::qwen2_5_vl ? writer.qwen2_5_vl() : writer.qwen3_vl();
}

/// Repeats the i-th `pad` (the id of <|image_pad|>) tokens_per_image[i] times, as many as image i has tokens. The
/// prompt must have one for each image.
inline std::vector<int> expand_images(std::span<const int> ids, int pad, std::span<const int> tokens_per_image) {
  const auto places = static_cast<std::size_t>(std::count(ids.begin(), ids.end(), pad));
  if (places != tokens_per_image.size())
    fail("the prompt has ", places, " ", image_pad, " for ", tokens_per_image.size(),
         " images: each image needs exactly one place");
  std::vector<int> out;
  std::size_t image = 0;
  for (const int id : ids) {
    const int times = id == pad ? tokens_per_image[image++] : 1;
    if (times < 1) fail("image ", image, " has ", times, " tokens, wanted at least 1");
    out.insert(out.end(), static_cast<std::size_t>(times), id);
  }
  return out;
}

}  // namespace lamina::text
