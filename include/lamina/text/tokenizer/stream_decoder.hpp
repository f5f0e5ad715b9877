#pragma once
#include <lamina/text/tokenizer.hpp>

#include <string>
#include <utility>

namespace lamina::text {

/// Decodes tokens as they are generated. What push returns is whole UTF-8 characters: a character whose bytes are
/// spread over several tokens comes out with the last of them. All that push and finish return, joined, is
/// Tokenizer::decode of all the ids.
class StreamDecoder {
 public:
  /// The tokenizer's tables are shared, so the Tokenizer itself may go first.
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}

  /// The text that this token completes, empty perhaps. Bytes that can no longer become UTF-8 come out as U+FFFD.
  std::string push(int id) {
    if (skip_special_ && tokenizer_.is_special(id)) return {};
    pending_ += tokenizer_.bytes_of(id);
    std::string out;
    std::size_t at = 0;
    while (at < pending_.size()) {
      const io::Utf8Step step = io::read_utf8(pending_, at);
      if (step.kind == io::Utf8Step::Kind::cut) break;
      io::append_utf8(out, step.value);
      at += step.size;
    }
    pending_.erase(0, at);
    return out;
  }

  /// What was held back when no token follows: U+FFFD for an unfinished character, else nothing.
  std::string finish() { return io::replace_invalid_utf8(std::exchange(pending_, {})); }

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  std::string pending_;  // the first bytes of a character, at most 3
};

}  // namespace lamina::text
