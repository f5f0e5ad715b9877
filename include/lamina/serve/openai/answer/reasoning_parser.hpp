#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/engine/request/stop.hpp>

namespace lamina::serve {

/// Parts an answer into what the model thought and what it says: <think> thought </think> content; the prompt may
/// have begun with <think> for it. Without </think> all is thought, as in vLLM's parser qwen3. The answer may come in
/// pieces of any lengths.
class ReasoningParser {
 public:
  static constexpr std::string_view begin_word = "<think>", end_word = "</think>";

  struct Piece {
    std::string reasoning, content;
  };

  Piece push(std::string_view text) {
    Piece out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (ended_) {
        out.content += text.substr(i);
        break;
      }
      push_thought(text[i], out);
    }
    return out;
  }
  /// False once the thought has ended.
  bool thinking() const { return !ended_; }
  /// The answer has ended.
  Piece finish() {
    Piece out;
    if (ended_) return out;
    out.reasoning = started_ ? end_.finish() : std::exchange(head_, {});
    return out;
  }

 private:
  void push_thought(char c, Piece& out) {
    if (started_) return push_started(std::string_view(&c, 1), out);
    head_ += c;
    const std::size_t text = head_.find_first_not_of(" \n\r\t");
    if (text == std::string::npos) return;
    const std::string_view word = std::string_view(head_).substr(text);
    if (word.size() < begin_word.size() && begin_word.starts_with(word)) return;
    started_ = true;
    if (word != begin_word) push_started(std::exchange(head_, {}), out);
  }
  void push_started(std::string_view text, Piece& out) {
    out.reasoning += end_.push(text);
    ended_ = end_.matched().has_value();
  }

  std::string head_;  ///< text that may be the word at the beginning
  engine::StopMatcher end_{{std::string(end_word)}};
  bool started_ = false, ended_ = false;
};

}  // namespace lamina::serve
