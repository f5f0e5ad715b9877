#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/engine/request/token_mask.hpp>
#include <lamina/text/tokenizer.hpp>

namespace lamina::serve {

/// The token sequences that spell a word: at the start of a text, and behind a space.
inline std::vector<std::vector<int>> spellings_of(const text::Tokenizer& tokenizer, const std::string& word) {
  const std::string bare = word.substr(std::min(word.find_first_not_of(" \t\n\r"), word.size()));
  return {tokenizer.encode(bare), tokenizer.encode(" " + bare)};
}

/// Keeps words out of an answer: the last token of each is impossible behind its others.
class BadWordsMask final : public engine::TokenMask {
 public:
  /// words: token sequences. inner: another mask of the answer, or null
  BadWordsMask(std::vector<std::vector<int>> words, std::shared_ptr<engine::TokenMask> inner)
      : words_(std::move(words)), inner_(std::move(inner)) {
    std::erase_if(words_, [](const auto& word) { return word.empty(); });
    for (const auto& word : words_) longest_ = std::max(longest_, word.size());
  }
  void fill(std::span<std::uint64_t> bits) override {
    if (inner_)
      inner_->fill(bits);
    else
      std::fill(bits.begin(), bits.end(), ~std::uint64_t{0});
    for (const auto& word : words_) {
      if (word.size() > last_.size() + 1 ||
          !std::equal(word.begin(), word.end() - 1, last_.end() - std::ssize(word) + 1))
        continue;
      const auto id = static_cast<std::size_t>(word.back());
      bits[id / 64] &= ~(std::uint64_t{1} << id % 64);
    }
  }
  void drawn(int token) override {
    if (inner_) inner_->drawn(token);
    last_.push_back(token);
    if (last_.size() > longest_) last_.erase(last_.begin());
  }

 private:
  std::vector<std::vector<int>> words_;
  std::shared_ptr<engine::TokenMask> inner_;
  std::size_t longest_ = 0;
  std::vector<int> last_;  ///< tokens of the answer
};

}  // namespace lamina::serve
