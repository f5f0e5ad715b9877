#pragma once
#include <lamina/text/tokenizer_files.hpp>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace lamina::text {

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
  /// their order. With `specials_as_text`, special tokens that are found stay part of the text around them.
  template <class Text, class Token>
  void split(std::string_view whole, bool specials_as_text, Text&& text, Token&& token) const {
    std::size_t begin = 0;
    for (std::size_t at = 0; at < whole.size();) {
      const AddedToken* found = starting_at(whole.substr(at));
      if (!found) {
        ++at;
        continue;
      }
      const std::size_t end = at + found->content.size();
      if (!(specials_as_text && found->special)) {
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
