#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/grammar/steps.hpp>
#include <lamina/grammar/vocabulary.hpp>

namespace lamina::grammar {

/// One bit for each token.
using TokenBits = std::span<std::uint64_t>;

/// Tokens, as bits or as a list if they are few.
class TokenSet {
 public:
  TokenSet() = default;
  explicit TokenSet(const std::vector<std::uint64_t>& bits) {
    std::size_t count = 0;
    for (const std::uint64_t word : bits) count += static_cast<std::size_t>(std::popcount(word));
    if (count * sizeof(int) >= bits.size() * sizeof(std::uint64_t)) {
      bits_ = bits;
      return;
    }
    few_.reserve(count);
    for (std::size_t word = 0; word < bits.size(); ++word)
      for (std::uint64_t left = bits[word]; left != 0; left &= left - 1)
        few_.push_back(static_cast<int>(word * 64) + std::countr_zero(left));
  }
  void add_to(TokenBits bits) const {
    for (std::size_t word = 0; word < bits_.size() && word < bits.size(); ++word) bits[word] |= bits_[word];
    for (const int token : few_)
      if (const auto word = static_cast<std::size_t>(token / 64); word < bits.size())
        bits[word] |= std::uint64_t{1} << token % 64;
  }
  std::size_t bytes() const { return 64 + bits_.size() * sizeof(std::uint64_t) + few_.size() * sizeof(int); }

 private:
  std::vector<std::uint64_t> bits_;
  std::vector<int> few_;
};

/// The tokens that may come next, for sets of stacks. Which tokens a state allows without leaving the rule that it is
/// in does not depend on what is below it on the stack: that is computed once for each state. The few tokens that
/// leave the rule are followed further for each set, and the whole is kept for when the set comes again.
class Masks {
 public:
  Masks(const Automaton& automaton, const Vocabulary& vocabulary)
      : automaton_(automaton),
        vocabulary_(vocabulary),
        steps_(automaton),
        path_(vocabulary.longest_token_bytes() + 1) {}

  Steps& steps() { return steps_; }
  const Steps& steps() const { return steps_; }
  std::size_t bytes() const { return bytes_ + steps_.bytes(); }
  void forget() {
    states_.clear(), known_.clear();
    bytes_ = 0;
  }

  /// The tokens after each of which a settled set still has a stack.
  const TokenSet& of(StackId settled) {
    if (const auto found = known_.find(settled); found != known_.end()) return found->second;
    marked_.assign(static_cast<std::size_t>(vocabulary_.size() + 63) / 64, 0);
    const StackSets::Set set = steps_.sets()[settled];
    if (set.tops.size() > many) {
      walk(0, vocabulary_.nodes().size(), settled, [&](const Vocabulary::Node& node, StackId) { mark(node); });
    } else {
      for (const StackTop& top : set.tops) add(top);
    }
    const TokenSet& tokens = known_.emplace(settled, TokenSet(marked_)).first->second;
    bytes_ += 64 + tokens.bytes();
    return tokens;
  }

 private:
  static constexpr std::size_t many = 8;  // states on top that are followed together

  /// What one state allows by itself.
  struct OfState {
    TokenSet tokens;
    std::vector<std::uint32_t> leaving;  ///< nodes at which the rule is done, and below which tokens go on
  };

  void add(const StackTop& top) {
    auto [alone, below] = cut(top);
    const OfState& state = of_state(alone);
    state.tokens.add_to(marked_);
    if (state.leaving.empty()) return;
    const StackId outside = steps_.resume(below);
    const auto& nodes = vocabulary_.nodes();
    for (const std::uint32_t leaf : state.leaving)
      walk(leaf + 1, nodes[leaf].after, outside, [&](const Vocabulary::Node& node, StackId) { mark(node); });
  }
  /// A stack of the state and the repetitions it is directly in, and what is below those. A count that no token can
  /// bring to a bound is set to one that all such counts share.
  std::pair<StackId, StackId> cut(const StackTop& top) {
    std::vector<Frame> frames{top.frame};
    StackId below = top.below;
    while (true) {
      const StackSets::Set& set = steps_.sets()[below];
      if (set.bottom || set.tops.size() != 1) break;
      const StackTop next = set.tops.front();
      const Automaton::State& state = automaton_.state(next.frame.state);
      if (state.kind != Automaton::Kind::repeat) break;
      frames.push_back({next.frame.state, usual_count(state, next.frame.count)});
      below = next.below;
    }
    StackId alone = StackSets::bottom;
    for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) alone = steps_.push(*frame, alone);
    return {alone, below};
  }
  std::uint32_t usual_count(const Automaton::State& repeat, std::uint32_t count) const {
    const std::uint64_t soon = count + std::uint64_t{vocabulary_.longest_token_bytes()};
    if (soon < repeat.min) return 0;
    return count >= repeat.min && soon <= repeat.max ? repeat.min : count;
  }
  const OfState& of_state(StackId alone) {
    if (const auto found = states_.find(alone); found != states_.end()) return found->second;
    std::vector<std::uint64_t> before(marked_.size(), 0);
    before.swap(marked_);
    OfState state;
    const auto& nodes = vocabulary_.nodes();
    walk(0, nodes.size(), alone, [&](const Vocabulary::Node& node, StackId after) {
      mark(node);
      const auto index = static_cast<std::uint32_t>(&node - nodes.data());
      if (steps_.sets()[after].bottom && node.after > index + 1) state.leaving.push_back(index);
    });
    state.tokens = TokenSet(marked_);
    before.swap(marked_);
    bytes_ += 128 + state.tokens.bytes() + state.leaving.size() * sizeof(std::uint32_t);
    return states_.emplace(alone, std::move(state)).first->second;
  }

  /// Calls visit(node, set after it) for the nodes [begin, end), which are those below one node, that a set allows.
  template <class Visit>
  void walk(std::size_t begin, std::size_t end, StackId from, const Visit& visit) {
    if (begin == end) return;
    const auto& nodes = vocabulary_.nodes();
    const std::size_t above = nodes[begin].depth;
    path_[0] = from;
    for (std::size_t i = begin; i < end;) {
      const Vocabulary::Node& node = nodes[i];
      const std::size_t depth = node.depth - above;
      const StackId after = steps_.step(path_[depth], node.byte);
      if (after == StackSets::none) {
        i = node.after;
        continue;
      }
      path_[depth + 1] = after;
      visit(node, after);
      i = after == StackSets::bottom ? node.after : i + 1;
    }
  }
  void mark(const Vocabulary::Node& node) {
    for (const int token : vocabulary_.tokens_at(node))
      marked_[static_cast<std::size_t>(token / 64)] |= std::uint64_t{1} << token % 64;
  }

  const Automaton& automaton_;
  const Vocabulary& vocabulary_;
  Steps steps_;
  std::unordered_map<StackId, OfState> states_;
  std::unordered_map<StackId, TokenSet> known_;
  std::vector<std::uint64_t> marked_;
  std::vector<StackId> path_;  // sets on the way to a node, by depth
  std::size_t bytes_ = 0;
};

}  // namespace lamina::grammar
