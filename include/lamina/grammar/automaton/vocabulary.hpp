#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::grammar {

/// The bytes of all tokens as a trie, in the order of a walk that visits a node before those below it.
class Vocabulary {
 public:
  static constexpr std::size_t longest_text = 1024;

  /// texts: by token id; a token with an empty one, or one of more than `longest_text` bytes, is never part of an
  /// answer. ends: ids that end an answer.
  Vocabulary(std::vector<std::string> texts, std::vector<int> ends) : texts_(std::move(texts)), ends_(std::move(ends)) {
    for (std::size_t id = 0; id < texts_.size(); ++id)
      if (!texts_[id].empty() && texts_[id].size() <= longest_text) tokens_.push_back(static_cast<int>(id));
    std::sort(tokens_.begin(), tokens_.end(), [this](int a, int b) { return text(a) < text(b); });
    std::vector<std::size_t> path;  // the nodes of the token before, by depth
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const std::string_view now = text(tokens_[i]);
      longest_ = std::max(longest_, now.size());
      std::size_t common = 0;
      if (i > 0) {
        const std::string_view before = text(tokens_[i - 1]);
        while (common < before.size() && common < now.size() && before[common] == now[common]) ++common;
      }
      close(path, common);
      for (std::size_t depth = common; depth < now.size(); ++depth) {
        path.push_back(nodes_.size());
        nodes_.push_back({.byte = static_cast<unsigned char>(now[depth]),
                          .depth = static_cast<std::uint16_t>(depth),
                          .first = static_cast<std::uint32_t>(i)});
      }
    }
    close(path, 0);
    // A node's own tokens end where the next node's begin: of equal texts, the later ones opened no node.
    auto last = static_cast<std::uint32_t>(tokens_.size());
    for (auto node = nodes_.rbegin(); node != nodes_.rend(); last = node->first, ++node) node->last = last;
  }

  /// A set of bytes. Those that are not ASCII share the bit of the byte 0.
  struct ByteSummary {
    std::uint64_t low = 0, high = 0;
    void add(unsigned char byte) {
      const unsigned bit = byte < 0x80 ? byte : 0;
      (bit < 64 ? low : high) |= std::uint64_t{1} << bit % 64;
    }
    void add(const ByteSummary& other) { low |= other.low, high |= other.high; }
    bool within(const ByteSummary& other) const { return (low & ~other.low) == 0 && (high & ~other.high) == 0; }
  };
  struct Node {
    unsigned char byte = 0;
    std::uint16_t depth = 0;  ///< bytes before this one
    std::uint32_t first = 0;  ///< of tokens(): the tokens that end here are [first, last)
    std::uint32_t last = 0;
    std::uint32_t after = 0;  ///< the first node that is not below this one
    ByteSummary below = {};   ///< of the bytes of the nodes below
  };
  const std::vector<Node>& nodes() const { return nodes_; }
  std::span<const int> tokens_at(const Node& node) const {
    return {tokens_.data() + node.first, node.last - node.first};
  }
  /// The tokens that end at a node, or below it.
  std::span<const int> tokens_from(const Node& node) const {
    const std::size_t last = node.after < nodes_.size() ? nodes_[node.after].first : tokens_.size();
    return {tokens_.data() + node.first, last - node.first};
  }
  std::string_view text(int token) const {
    return token >= 0 && token < size() ? std::string_view(texts_[static_cast<std::size_t>(token)])
                                        : std::string_view();
  }
  const std::vector<int>& ends() const { return ends_; }
  bool is_end(int token) const { return std::find(ends_.begin(), ends_.end(), token) != ends_.end(); }
  int size() const { return static_cast<int>(texts_.size()); }
  std::size_t longest_token_bytes() const { return longest_; }

 private:
  void close(std::vector<std::size_t>& path, std::size_t depth) {
    while (path.size() > depth) {
      Node& node = nodes_[path.back()];
      node.after = static_cast<std::uint32_t>(nodes_.size());
      path.pop_back();
      if (path.empty()) continue;
      nodes_[path.back()].below.add(node.byte);
      nodes_[path.back()].below.add(node.below);
    }
  }
  std::vector<std::string> texts_;
  std::vector<int> ends_, tokens_;
  std::vector<Node> nodes_;
  std::size_t longest_ = 1;
};

}  // namespace lamina::grammar
