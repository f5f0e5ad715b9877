#pragma once
#include <algorithm>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/grammar/automaton/automaton.hpp>

namespace lamina::grammar {

using StackId = std::uint32_t;

/// A state on a stack, with the number of times that a repetition was begun.
struct Frame {
  StateId state = 0;
  std::uint32_t count = 0;
  auto operator<=>(const Frame&) const = default;
};

/// A frame on top of any stack of a set.
struct StackTop {
  Frame frame;
  StackId below = 0;
  auto operator<=>(const StackTop&) const = default;
};

/// Sets of stacks, each kept once and named by a number. A set is stored by the top frames of its stacks, and for each
/// the set of what is below it: sets that agree below share it, and a set of exponentially many stacks stays small.
class StackSets {
 public:
  struct Set {
    std::vector<StackTop> tops;  ///< in order; each frame once
    bool bottom = false;         ///< the empty stack is one of the set
    std::uint32_t depth = 0;     ///< of its deepest stack
  };
  static constexpr StackId none = 0;    ///< no stack at all
  static constexpr StackId bottom = 1;  ///< the empty stack
  static constexpr std::uint32_t deepest = 400;
  static constexpr std::size_t widest = 1 << 15;

  StackSets() { intern({.tops = {}}), intern({.tops = {}, .bottom = true}); }

  const Set& operator[](StackId id) const { return sets_[id]; }
  std::size_t size() const { return sets_.size(); }
  std::size_t bytes() const { return bytes_; }

  /// `frame` on top of each stack of a set; `none` if that would be too deep.
  StackId push(Frame frame, StackId below) {
    if (sets_[below].depth >= deepest) return none;
    return intern({.tops = {{frame, below}}, .depth = sets_[below].depth + 1});
  }
  /// The stacks of all of these, in any order, and of the empty one.
  StackId gather(std::vector<StackTop>& tops, bool with_bottom) {
    std::sort(tops.begin(), tops.end());
    Set set{.tops = {}, .bottom = with_bottom};
    for (const StackTop& top : tops) {
      if (!set.tops.empty() && set.tops.back().frame == top.frame)
        set.tops.back().below = unite(set.tops.back().below, top.below);
      else
        set.tops.push_back(top);
    }
    if (set.tops.size() > widest) refuse("leaves more than ", widest, " ways open at once: make it less ambiguous");
    for (const StackTop& top : set.tops) set.depth = std::max(set.depth, sets_[top.below].depth + 1);
    return intern(std::move(set));
  }
  /// The stacks of both. As deep as they are, it calls itself: `deepest` bounds that.
  StackId unite(StackId a, StackId b) {
    if (a == b || b == none) return a;
    if (a == none) return b;
    const std::uint64_t key = std::uint64_t{std::min(a, b)} << 32 | std::max(a, b);
    if (const auto found = united_.find(key); found != united_.end()) return found->second;
    std::vector<StackTop> tops = sets_[a].tops;
    tops.insert(tops.end(), sets_[b].tops.begin(), sets_[b].tops.end());
    const StackId both = gather(tops, sets_[a].bottom || sets_[b].bottom);
    united_.emplace(key, both);
    bytes_ += 48;
    return both;
  }

 private:
  StackId intern(Set set) {
    std::uint64_t hash = set.bottom;
    const auto mix = [&](std::uint64_t x) { hash = (hash ^ x) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29; };
    for (const StackTop& top : set.tops) mix(std::uint64_t{top.frame.state} << 32 | top.below), mix(top.frame.count);
    const auto [begin, end] = ids_.equal_range(hash);
    for (auto at = begin; at != end; ++at) {
      const Set& other = sets_[at->second];
      if (other.bottom == set.bottom && other.tops == set.tops) return at->second;
    }
    bytes_ += 112 + set.tops.size() * sizeof(StackTop);
    sets_.push_back(std::move(set));
    ids_.emplace(hash, static_cast<StackId>(sets_.size() - 1));
    return static_cast<StackId>(sets_.size() - 1);
  }

  std::vector<Set> sets_;
  std::unordered_multimap<std::uint64_t, StackId> ids_;
  std::unordered_map<std::uint64_t, StackId> united_;
  std::size_t bytes_ = 0;
};

}  // namespace lamina::grammar
