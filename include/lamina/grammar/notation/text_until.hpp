#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <lamina/grammar/grammar.hpp>

namespace lamina::grammar {

/// Free text up to the first of some words, and what follows that word (Aho & Corasick 1975).
class TextUntil {
 public:
  static constexpr std::size_t most_bytes = 4096;  ///< of all words

  /// words: none is empty. errors  GrammarError if they have more than most_bytes.
  TextUntil(Grammar& grammar, const std::vector<std::string>& words) : grammar_(grammar) {
    std::size_t bytes = 0;
    nodes_.emplace_back();
    for (std::size_t word = 0; word < words.size(); ++word) {
      if (words[word].empty()) refuse("is empty, wanted a word at which free text ends");
      if ((bytes += words[word].size()) > most_bytes) refuse("are longer than ", most_bytes, " bytes together");
      add(words[word], static_cast<int>(word));
    }
    link();
  }

  /// after: what follows each word. may_end: the text may also end without a word. The node may be part of `after`, by
  /// the rule `text`, so that there is more text behind a word.
  void define(RuleId text, const std::vector<NodeId>& after, bool may_end) {
    std::vector<RuleId> rules{text};
    while (rules.size() < nodes_.size()) rules.push_back(grammar_.declare("text"));
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].word >= 0 && i > 0) {
        grammar_.define(rules[i], after[static_cast<std::size_t>(nodes_[i].word)]);
        continue;
      }
      std::map<std::size_t, ByteSet> targets;
      for (std::size_t byte = 0; byte < 256; ++byte) targets[nodes_[i].next[byte]].set(byte);
      std::vector<NodeId> branches;
      for (const auto& [target, set] : targets)
        branches.push_back(grammar_.sequence({grammar_.bytes(set), grammar_.rule(rules[target])}));
      if (may_end) branches.push_back(grammar_.empty());
      grammar_.define(rules[i], grammar_.choice(std::move(branches)));
    }
  }

 private:
  struct Node {
    std::array<std::size_t, 256> next{};  // 0: none yet
    std::size_t fallback = 0;
    int word = -1;  // that ends here
  };
  void add(const std::string& word, int index) {
    std::size_t at = 0;
    for (const char c : word) {
      const auto byte = static_cast<unsigned char>(c);
      if (nodes_[at].next[byte] == 0) {
        nodes_[at].next[byte] = nodes_.size();
        nodes_.emplace_back();
      }
      at = nodes_[at].next[byte];
    }
    if (nodes_[at].word < 0) nodes_[at].word = index;
  }
  /// Nodes in the order of their depth, so that the fallback of each is complete before.
  void link() {
    std::vector<std::size_t> order{0};
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::size_t at = order[i];
      for (std::size_t byte = 0; byte < 256; ++byte) {
        const std::size_t without = at == 0 ? 0 : nodes_[nodes_[at].fallback].next[byte];
        std::size_t& child = nodes_[at].next[byte];
        if (child == 0) {
          child = without;
          continue;
        }
        nodes_[child].fallback = without;
        if (nodes_[child].word < 0) nodes_[child].word = nodes_[without].word;
        order.push_back(child);
      }
    }
  }

  Grammar& grammar_;
  std::vector<Node> nodes_;
};

}  // namespace lamina::grammar
