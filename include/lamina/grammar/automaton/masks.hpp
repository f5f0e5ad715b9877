#pragma once
#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/grammar/automaton/steps.hpp>
#include <lamina/grammar/automaton/vocabulary.hpp>

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
    add_few_to(bits);
  }
  /// Sets the bits of these tokens and clears the others.
  void copy_to(TokenBits bits) const {
    const auto rest = std::copy_n(bits_.begin(), std::min(bits_.size(), bits.size()), bits.begin());
    std::fill(rest, bits.end(), 0);
    add_few_to(bits);
  }
  bool empty() const { return bits_.empty() && few_.empty(); }
  std::size_t bytes() const { return 64 + bits_.size() * sizeof(std::uint64_t) + few_.size() * sizeof(int); }

 private:
  void add_few_to(TokenBits bits) const {
    for (const int token : few_)
      if (const auto word = static_cast<std::size_t>(token / 64); word < bits.size())
        bits[word] |= std::uint64_t{1} << token % 64;
  }

  std::vector<std::uint64_t> bits_;
  std::vector<int> few_;
};

/// The tokens that may come next, for sets of stacks. Which tokens states allow without leaving the rule that they are
/// in does not depend on what is below them on the stack: that is computed once for them. The few tokens that leave the
/// rule are followed further for each set, and the whole is kept for when the set comes again. Sets that allow what
/// their states do, as those of a repetition that differ in its count, share one.
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
    states_.clear(), staying_.clear(), known_.clear();
    bytes_ = 0;
  }

  /// The tokens after each of which a settled set still has a stack.
  std::shared_ptr<const TokenSet> of(StackId settled) {
    if (const auto found = known_.find(settled); found != known_.end()) return found->second;
    auto tokens = find(settled);
    bytes_ += 64;
    return known_[settled] = std::move(tokens);
  }
  /// Computes ahead what states allow by themselves, for as long as there is time.
  void prepare(std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    std::set<StateId> begun;
    for (StateId id = 0; id < automaton_.size() && std::chrono::steady_clock::now() < until; ++id) {
      const Automaton::State& state = automaton_.state(id);
      steps_.renew_budget();
      if (state.kind == Automaton::Kind::repeat)
        prepare({state.a, 0}, steps_.push({id, usual_count(state, state.min)}, StackSets::bottom));
      if (state.kind == Automaton::Kind::bytes && begun.insert(state.a).second)
        prepare({state.a, 0}, StackSets::bottom);
    }
  }

 private:
  /// What states that are on top together allow by themselves.
  struct OfStates {
    std::shared_ptr<const TokenSet> tokens;
    std::vector<std::uint32_t> leaving;  ///< nodes at which the rule is done, and below which tokens go on
  };
  /// Of the stacks of a set: what is on top, by what is below it.
  using Cut = std::map<StackId, std::vector<StackTop>>;

  std::size_t words() const { return static_cast<std::size_t>(vocabulary_.size() + 63) / 64; }
  void prepare(Frame frame, StackId below) {
    marked_.assign(words(), 0);
    for (auto& [unused, tops] : cut(steps_.settle(frame, below))) of_states(steps_.gather(tops));
  }
  std::shared_ptr<const TokenSet> find(StackId settled) {
    Cut parts = cut(settled);
    if (parts.size() == 1) {
      const OfStates& states = of_states(steps_.gather(parts.begin()->second));
      if (states.leaving.empty()) return states.tokens;
    }
    marked_.assign(words(), 0);
    for (auto& [below, tops] : parts) add(steps_.gather(tops), below);
    auto tokens = std::make_shared<const TokenSet>(marked_);
    bytes_ += tokens->bytes();
    return tokens;
  }
  void add(StackId alone, StackId below) {
    const OfStates& states = of_states(alone);
    states.tokens->add_to(marked_);
    if (states.leaving.empty()) return;
    const StackId outside = steps_.resume(below);
    const auto& nodes = vocabulary_.nodes();
    for (const std::uint32_t leaf : states.leaving)
      walk(leaf + 1, nodes[leaf].after, outside, [&](const Vocabulary::Node& node, StackId) { mark(node); });
  }
  /// Cuts each stack below the state on top and the repetitions that it is directly in. A count that no token can
  /// bring to a bound is set to one that all such counts share.
  Cut cut(StackId settled) {
    const StackSets::Set whole = steps_.sets()[settled];
    Cut out;
    for (const StackTop& top : whole.tops) {
      std::vector<Frame> repeats;
      StackId below = top.below;
      while (true) {
        const StackSets::Set& set = steps_.sets()[below];
        if (set.bottom || set.tops.size() != 1) break;
        const StackTop next = set.tops.front();
        const Automaton::State& state = automaton_.state(next.frame.state);
        if (state.kind != Automaton::Kind::repeat) break;
        repeats.push_back({next.frame.state, usual_count(state, next.frame.count)});
        below = next.below;
      }
      StackId alone = StackSets::bottom;
      for (auto frame = repeats.rbegin(); frame != repeats.rend(); ++frame) alone = steps_.push(*frame, alone);
      out[below].push_back({top.frame, alone});
    }
    return out;
  }
  std::uint32_t usual_count(const Automaton::State& repeat, std::uint32_t count) const {
    const std::uint64_t soon = count + std::uint64_t{vocabulary_.longest_token_bytes()};
    if (soon < repeat.min) return 0;
    return count >= repeat.min && soon <= repeat.max ? repeat.min : count;
  }
  const OfStates& of_states(StackId alone) {
    if (const auto found = states_.find(alone); found != states_.end()) return found->second;
    std::vector<std::uint64_t> before(words(), 0);
    before.swap(marked_);
    OfStates state;
    const auto& nodes = vocabulary_.nodes();
    walk(0, nodes.size(), alone, [&](const Vocabulary::Node& node, StackId after) {
      mark(node);
      const auto index = static_cast<std::uint32_t>(&node - nodes.data());
      if (steps_.sets()[after].bottom && node.after > index + 1) state.leaving.push_back(index);
    });
    state.tokens = std::make_shared<const TokenSet>(marked_);
    before.swap(marked_);
    bytes_ += 128 + state.tokens->bytes() + state.leaving.size() * sizeof(std::uint32_t);
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
      if (after == path_[depth] && node.below.within(staying(after))) {
        for (const int token : vocabulary_.tokens_from(node)) mark(token);
        i = node.after;
        continue;
      }
      path_[depth + 1] = after;
      visit(node, after);
      i = after == StackSets::bottom ? node.after : i + 1;
    }
  }
  /// The bytes after which a set is what it was, so that a token of them needs no walk. None if the rule may be done
  /// there: each node is one to go on from then.
  Vocabulary::ByteSummary staying(StackId set) {
    if (const auto found = staying_.find(set); found != staying_.end()) return found->second;
    Vocabulary::ByteSummary bytes;
    const auto stays = [&](int byte) { return steps_.step(set, static_cast<unsigned char>(byte)) == set; };
    if (!steps_.sets()[set].bottom) {
      for (int byte = 1; byte < 0x80; ++byte)
        if (stays(byte)) bytes.add(static_cast<unsigned char>(byte));
      bool others = stays(0);
      for (int byte = 0x80; others && byte < 256; ++byte) others = stays(byte);
      if (others) bytes.add(0);
    }
    bytes_ += 64;
    return staying_[set] = bytes;
  }
  void mark(const Vocabulary::Node& node) {
    for (const int token : vocabulary_.tokens_at(node)) mark(token);
  }
  void mark(int token) { marked_[static_cast<std::size_t>(token / 64)] |= std::uint64_t{1} << token % 64; }

  const Automaton& automaton_;
  const Vocabulary& vocabulary_;
  Steps steps_;
  std::unordered_map<StackId, OfStates> states_;
  std::unordered_map<StackId, Vocabulary::ByteSummary> staying_;
  std::unordered_map<StackId, std::shared_ptr<const TokenSet>> known_;
  std::vector<std::uint64_t> marked_;
  std::vector<StackId> path_;  // sets on the way to a node, by depth
  std::size_t bytes_ = 0;
};

}  // namespace lamina::grammar
