#pragma once
#include <iterator>
#include <optional>
#include <utility>

#include <lamina/engine/request/answer.hpp>

namespace lamina::serve {
using engine::Delta;

/// Joins what the tokens of one streamed answer made certain into chunks: the first goes out at once, the others with
/// every `interval` tokens, the rest at the end (vLLM's stream_interval). A chunk without text is held back, unless it
/// has tokens to report.
class ChunkBatch {
 public:
  /// with_ids: the client wants the ids of all tokens, so that each is worth a chunk.
  ChunkBatch(int interval, bool with_ids) : interval_(interval), with_ids_(with_ids) {}

  /// Takes what one token made certain; returns the chunk that is due, if one is.
  std::optional<Delta> add(Delta delta) {
    hold(std::move(delta));
    return sent_any_ && held_.completion_tokens - sent_tokens_ < interval_ ? std::nullopt : take();
  }
  /// The same without a chunk.
  void hold(Delta delta) {
    held_.text += delta.text;
    held_.tokens.insert(held_.tokens.end(), std::make_move_iterator(delta.tokens.begin()),
                        std::make_move_iterator(delta.tokens.end()));
    held_.ids.insert(held_.ids.end(), delta.ids.begin(), delta.ids.end());
    held_.completion_tokens = delta.completion_tokens;
  }
  /// The rest, after the last token.
  std::optional<Delta> take() {
    if (held_.text.empty() && held_.tokens.empty() && !(with_ids_ && !held_.ids.empty())) return {};
    sent_any_ = true;
    sent_tokens_ = held_.completion_tokens;
    return std::exchange(held_, {});
  }

 private:
  int interval_;
  bool with_ids_, sent_any_ = false;
  int sent_tokens_ = 0;
  Delta held_;
};

}  // namespace lamina::serve
