#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <lamina/grammar/automaton/stack_sets.hpp>

namespace lamina::grammar {

/// Follows all stacks of an automaton at once, byte by byte: a deterministic automaton over sets of stacks, whose
/// states are made when they are reached. Settled sets have only states on top that read a byte; theirs are the ids
/// that step() takes and returns.
class Steps {
 public:
  explicit Steps(const Automaton& automaton) : automaton_(automaton) {}

  const StackSets& sets() const { return sets_; }
  std::size_t bytes() const { return sets_.bytes() + next_bytes_; }

  /// The settled set before the first byte.
  StackId start() { return settle({automaton_.start(), 0}, StackSets::bottom); }
  /// The settled set after a byte; `none` if no text goes on with it.
  /// errors  GrammarError if that takes more work than the budget since renew_budget().
  StackId step(StackId from, unsigned char byte) {
    if (from >= next_.size()) next_.resize(std::max<std::size_t>(sets_.size(), from + 1));
    const int byte_class = automaton_.class_of(byte);
    if (!next_[from]) {
      const auto classes = static_cast<std::size_t>(automaton_.classes());
      next_[from] = std::make_unique<StackId[]>(classes);
      std::fill_n(next_[from].get(), classes, unknown);
      spend(1 + static_cast<std::int64_t>(classes) / 4);
      next_bytes_ += classes * sizeof(StackId) + sizeof(void*);
    }
    StackId& to = next_[from][static_cast<std::size_t>(byte_class)];
    if (to == unknown) to = find_step(from, byte_class);  // next_ may move, its arrays do not
    return to;
  }
  StackId step(StackId from, std::string_view text) {
    for (const char c : text)
      if ((from = step(from, static_cast<unsigned char>(c))) == StackSets::none) break;
    return from;
  }
  /// The settled set of stacks on which a state that was called is done: what is below goes on.
  StackId resume(StackId below) {
    if (const auto found = resumed_.find(below); found != resumed_.end()) return found->second;
    const StackSets::Set set = sets_[below];
    const StackId settled = settle(set.tops, set.bottom);
    resumed_.emplace(below, settled);
    return settled;
  }
  /// The settled set that begins with a frame, which need not read a byte.
  StackId settle(Frame frame, StackId below) { return settle({{frame, below}}, false); }
  /// The set of these stacks.
  StackId gather(std::vector<StackTop>& tops) { return sets_.gather(tops, false); }
  /// A frame on top of the stacks of a set.
  StackId push(Frame frame, StackId below) { return sets_.push(frame, below); }

  /// Copies a set of another one here.
  StackId copy(const StackSets& from, StackId id) {
    std::unordered_map<StackId, StackId> copies{{StackSets::none, StackSets::none},
                                                {StackSets::bottom, StackSets::bottom}};
    return copy(from, id, copies);
  }

  void renew_budget() { work_ = 0; }

 private:
  static constexpr StackId unknown = ~StackId{0};
  static constexpr std::int64_t most_work = 1 << 17;  // states visited for one token or mask: tens of ms

  StackId find_step(StackId from, int byte_class) {
    std::vector<StackTop> open;
    for (const StackTop& top : sets_[from].tops) {
      const Automaton::State& state = automaton_.state(top.frame.state);
      if (automaton_.reads(state, byte_class)) open.push_back({{state.a, 0}, top.below});
    }
    spend(static_cast<std::int64_t>(sets_[from].tops.size() / 16));
    return open.empty() ? StackSets::none : settle(std::move(open), false);
  }

  struct Hash {
    std::size_t operator()(const StackTop& top) const {
      std::uint64_t hash = std::uint64_t{top.frame.state} << 32 | top.below;
      hash = (hash ^ std::uint64_t{top.frame.count} << 17) * 0x9e3779b97f4a7c15u;
      return hash ^ hash >> 29;
    }
  };
  using Seen = std::unordered_set<StackTop, Hash>;

  /// Goes on from these until a byte must be read.
  StackId settle(std::vector<StackTop> open, bool bottom) {
    std::vector<StackTop> reading;
    Seen seen;
    std::map<std::pair<StateId, StackId>, std::uint32_t> fewest;  // of nullable repetitions
    while (!open.empty()) {
      const StackTop at = open.back();
      open.pop_back();
      if (at.below == StackSets::none || !seen.insert(at).second) continue;
      spend(1);
      const Automaton::State& state = automaton_.state(at.frame.state);
      switch (state.kind) {
        case Automaton::Kind::bytes:
          reading.push_back(at);
          break;
        case Automaton::Kind::split:
          for (const StateId target : state.targets) open.push_back({{target, 0}, at.below});
          break;
        case Automaton::Kind::call:
          open.push_back({{state.a, 0}, sets_.push({state.b, 0}, at.below)});
          break;
        case Automaton::Kind::repeat:
          // Having used fewer repetitions allows all that having used more does, since no minimum has to be reached.
          if (state.nullable) {
            const auto [found, is_new] = fewest.try_emplace({at.frame.state, at.below}, at.frame.count);
            if (!is_new && found->second <= at.frame.count) break;
            found->second = at.frame.count;
          }
          repeat(state, at, open);
          break;
        case Automaton::Kind::done: {
          const StackSets::Set& below = sets_[at.below];
          bottom |= below.bottom;
          open.insert(open.end(), below.tops.begin(), below.tops.end());
          break;
        }
      }
    }
    return sets_.gather(reading, bottom);
  }
  void repeat(const Automaton::State& state, const StackTop& at, std::vector<StackTop>& open) {
    const std::uint32_t count = at.frame.count;
    if (count >= state.min) open.push_back({{state.b, 0}, at.below});
    if (count >= state.max) return;
    const std::uint32_t next = state.max == Grammar::unbounded ? std::min(count + 1, state.min) : count + 1;
    open.push_back({{state.a, 0}, sets_.push({at.frame.state, next}, at.below)});
  }

  void spend(std::int64_t work) {
    if ((work_ += work) > most_work) refuse("leaves too many ways open at once: make it less ambiguous");
  }
  /// As deep as stacks are, it calls itself.
  StackId copy(const StackSets& from, StackId id, std::unordered_map<StackId, StackId>& copies) {
    if (const auto found = copies.find(id); found != copies.end()) return found->second;
    std::vector<StackTop> tops = from[id].tops;
    for (StackTop& top : tops) top.below = copy(from, top.below, copies);
    return copies[id] = sets_.gather(tops, from[id].bottom);
  }

  const Automaton& automaton_;
  StackSets sets_;
  std::vector<std::unique_ptr<StackId[]>> next_;  // by set and class of byte
  std::unordered_map<StackId, StackId> resumed_;
  std::size_t next_bytes_ = 0;
  std::int64_t work_ = 0;
};

}  // namespace lamina::grammar
