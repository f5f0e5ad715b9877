#pragma once
#include <lamina/core/error.hpp>
#include <lamina/model/chat_format.hpp>
#include <lamina/text/prompt_segment.hpp>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Prompts by a family's chat layout: text equal to what Jinja makes of the template that its models ship
/// (ChatFormat::released_template). By hand: the distributions package no Jinja for C++.
namespace lamina::text {

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
  std::vector<std::string> tools;     ///< each as python_json writes it; a layout without functions leaves them out
};

namespace detail {

/// Writes one conversation; the counters of images and videos run through all of it.
class ChatWriter {
 public:
  ChatWriter(const ChatFormat& format, std::span<const Message> messages, const TemplateOptions& options)
      : format_(format), messages_(messages), options_(options) {}

  /// Every message is a turn under its own role.
  std::vector<PromptSegment> turns_of_every_role() {
    if (!messages_.empty() && messages_[0].role != format_.system && !format_.default_system.empty()) {
      begin(format_.system);
      add(format_.default_system);
      end();
    }
    for (const Message& message : messages_) {
      add(format_.turn_begin);
      quote(message.role);
      add(format_.role_end);
      content(message);
      end();
    }
    return finish();
  }

  /// Other roles, and system messages after the first message, are left out.
  std::vector<PromptSegment> turns_of_known_roles() {
    if (messages_.empty()) fail("chat template of ", format_.title, ": no messages, wanted at least one");
    preamble();
    for (std::size_t i = 0; i < messages_.size(); ++i) {
      const Message& message = messages_[i];
      if (message.role == "user") {
        begin(format_.user);
        content(message);
        end();
      } else if (message.role == "assistant") {
        assistant(message);
      } else if (message.role == "tool") {
        tool_response(i);
      }
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

  void begin(std::string_view role) { add(format_.turn_begin, role, format_.role_end); }
  void end() { add(format_.turn_end, format_.turn_break); }

  std::vector<PromptSegment> finish() {
    if (options_.add_generation_prompt) begin(format_.assistant);
    return std::move(out_);
  }

  void content(const Message& message) {
    for (const Part& part : message.parts) {
      if (part.kind == Part::Kind::text) {
        quote(part.text);
      } else if (part.kind == Part::Kind::image) {
        ++images_;
        if (options_.add_vision_id) add(format_.image_label, std::to_string(images_), ": ");
        add(format_.image_begin, format_.image_pad, format_.image_end);
      } else {
        ++videos_;
        if (options_.add_vision_id) add(format_.video_label, std::to_string(videos_), ": ");
        add(format_.image_begin, format_.video_pad, format_.image_end);
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
    const bool system = messages_[0].role == "system", tools = format_.tools && !options_.tools.empty();
    if (!system && !tools) return;
    begin(format_.system);
    if (system) text_of(messages_[0]);
    if (tools) {
      if (system) add("\n\n");
      add(format_.tools->offer_begin);
      for (const std::string& tool : options_.tools) {
        add("\n");
        quote(tool);
      }
      add(format_.tools->offer_end);
    }
    end();
  }

  void assistant(const Message& message) {
    begin(format_.assistant);
    text_of(message);
    // Jinja's truth: a string is true if not empty, a list if it has items, whatever they hold.
    const auto has_text = [](const Part& part) { return !part.text.empty(); };
    bool line_break =
        message.plain ? std::any_of(message.parts.begin(), message.parts.end(), has_text) : !message.parts.empty();
    for (const ToolCall& call : message.tool_calls) {
      if (!format_.tools) break;
      if (line_break) add("\n");
      line_break = true;
      add(format_.tools->call_begin, "\n{\"name\": \"");
      quote(call.name);
      add("\", \"arguments\": ");
      quote(call.arguments);
      add("}\n", format_.tools->call_end);
    }
    end();
  }

  /// Tool messages that follow each other share one user turn.
  void tool_response(std::size_t i) {
    if (!format_.tools) return;
    if (i == 0 || messages_[i - 1].role != "tool") add(format_.turn_begin, format_.user);
    add("\n", format_.tools->response_begin, "\n");
    content(messages_[i]);
    add("\n", format_.tools->response_end);
    if (i + 1 == messages_.size() || messages_[i + 1].role != "tool") end();
  }

  const ChatFormat& format_;
  std::span<const Message> messages_;
  const TemplateOptions& options_;
  std::vector<PromptSegment> out_;
  int images_ = 0, videos_ = 0;
};

}  // namespace detail

/// The prompt of a conversation, with the layout's image_pad once for each image.
inline std::vector<PromptSegment> render(const ChatFormat& format, std::span<const Message> messages,
                                         const TemplateOptions& options = {}) {
  detail::ChatWriter writer(format, messages, options);
  return format.every_role ? writer.turns_of_every_role() : writer.turns_of_known_roles();
}

/// Repeats the i-th `pad` (the id of the layout's image_pad, pad_text) tokens_per_image[i] times, as many as image i
/// has tokens. The prompt must have one for each image.
inline std::vector<int> expand_images(std::span<const int> ids, int pad, std::string_view pad_text,
                                      std::span<const int> tokens_per_image) {
  const auto places = static_cast<std::size_t>(std::count(ids.begin(), ids.end(), pad));
  if (places != tokens_per_image.size())
    fail("the prompt has ", places, " ", pad_text, " for ", tokens_per_image.size(),
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
