#pragma once
#include <lamina/text/tokenizer/files.hpp>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace lamina::text {

/// Control tokens (AddedToken::control) are those that only a chat template may write: they open and end turns and
/// texts, and stand in the places of images and videos. Content (messages, tool calls, tool schemas) that spells one
/// gets its letters: else a message could end its own turn, or claim an image that is not there (vLLM's
/// CVE-2026-44222).
///
/// Every other added token is a word of the content: grounding marks (<|box_start|>, <|object_ref_start|>, ...), tool
/// and thought tags, and what a fine-tuned model adds for itself. Training encodes each as one id, so the prompt of the
/// trained model must too. Training, which trusts its data, also encodes control tokens as one id, as LLaMA-Factory
/// does.

/// Finds added tokens in text: at the leftmost place where any begins, the longest.
class AddedTokenSearch {
 public:
  void add(AddedToken token) {
    auto& tokens = by_first_byte_[static_cast<unsigned char>(token.content[0])];
    tokens.push_back(std::move(token));
    std::sort(tokens.begin(), tokens.end(),
              [](const auto& a, const auto& b) { return a.content.size() > b.content.size(); });
  }

  /// Calls text(std::string_view) for each non-empty run of ordinary text and token(int id) for each added token, in
  /// their order. With `controls_as_text`, control tokens that are found stay part of the text around them.
  template <class Text, class Token>
  void split(std::string_view whole, bool controls_as_text, Text&& text, Token&& token) const {
    std::size_t begin = 0;
    for (std::size_t at = 0; at < whole.size();) {
      const AddedToken* found = starting_at(whole.substr(at));
      if (!found) {
        ++at;
        continue;
      }
      const std::size_t end = at + found->content.size();
      if (!(controls_as_text && found->control)) {
        if (at > begin) text(whole.substr(begin, at - begin));
        token(found->id);
        begin = end;
      }
      at = end;
    }
    if (begin < whole.size()) text(whole.substr(begin));
  }

 private:
  const AddedToken* starting_at(std::string_view rest) const {
    for (const AddedToken& token : by_first_byte_[static_cast<unsigned char>(rest[0])]) {
      if (rest.starts_with(token.content)) return &token;
    }
    return nullptr;
  }
  std::array<std::vector<AddedToken>, 256> by_first_byte_;  // the longest first
};

}  // namespace lamina::text
