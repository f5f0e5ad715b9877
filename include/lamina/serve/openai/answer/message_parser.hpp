#pragma once
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/model/chat_format.hpp>
#include <lamina/serve/openai/answer/reasoning_parser.hpp>
#include <lamina/serve/openai/answer/tool_parser.hpp>

namespace lamina::serve {

/// What the text of an answer is made of, besides content.
struct MessageForm {
  bool reasoning = false;            ///< it begins with a thought
  bool show_reasoning = true;        ///< the thought is part of the answer
  const ToolMarks* tools = nullptr;  ///< calls are read from it; null: none are
  bool one_call = false;             ///< those after the first are dropped
  bool named_tool = false;           ///< the request named the function: the answer finishes with "stop"
  std::string echo = {};             ///< what the content begins with, before the model's own

  bool plain() const { return !reasoning && !tools; }
};

/// What became certain of a message.
struct MessagePiece {
  std::string reasoning, content;
  std::vector<ToolCallPart> calls;
};

/// Reads a message in pieces of any lengths.
class MessageParser {
 public:
  explicit MessageParser(const MessageForm& form) : show_reasoning_(form.show_reasoning) {
    if (form.reasoning) reasoning_.emplace();
    if (form.tools) tools_.emplace(*form.tools, form.one_call ? 1 : std::numeric_limits<int>::max());
  }

  MessagePiece push(std::string_view text) {
    if (!reasoning_) return content(std::string(text));
    return both(reasoning_->push(text));
  }
  /// The answer has ended.
  MessagePiece finish() {
    MessagePiece out;
    if (reasoning_) out = both(reasoning_->finish());
    if (!tools_) return out;
    ToolPiece last = tools_->finish();
    out.content += last.content;
    for (auto& part : last.calls) out.calls.push_back(std::move(part));
    return out;
  }
  /// What comes is still a thought.
  bool thinking() const { return reasoning_ && reasoning_->thinking(); }
  int calls() const { return tools_ ? tools_->calls() : 0; }
  bool broken() const { return tools_ && tools_->broken(); }

 private:
  MessagePiece content(std::string text) {
    if (!tools_) return {{}, std::move(text), {}};
    ToolPiece piece = tools_->push(text);
    return {{}, std::move(piece.content), std::move(piece.calls)};
  }
  MessagePiece both(ReasoningParser::Piece piece) {
    MessagePiece out = content(std::move(piece.content));
    if (show_reasoning_) out.reasoning = std::move(piece.reasoning);
    return out;
  }

  bool show_reasoning_;
  std::optional<ReasoningParser> reasoning_;
  std::optional<ToolParser> tools_;
};

/// A whole message: its thought, its content, and its calls with all their arguments. If something in it is no call,
/// it calls nothing, and all is content.
inline MessagePiece parse_message(const MessageForm& form, std::string_view text) {
  const auto whole = [&](const MessageForm& of) {
    MessageParser parser(of);
    MessagePiece out = parser.push(text), last = parser.finish();
    out.reasoning += last.reasoning;
    out.content += last.content;
    for (auto& part : last.calls) out.calls.push_back(std::move(part));
    return std::pair(std::move(out), parser.broken());
  };
  auto [out, broken] = whole(form);
  if (broken) {
    MessageForm plain = form;
    plain.tools = nullptr;
    return whole(plain).first;
  }
  std::vector<ToolCallPart> calls;
  for (auto& part : out.calls) {
    if (calls.empty() || calls.back().call != part.call)
      calls.push_back(std::move(part));
    else
      calls.back().arguments += part.arguments;
  }
  out.calls = std::move(calls);
  return std::move(out);
}

}  // namespace lamina::serve
