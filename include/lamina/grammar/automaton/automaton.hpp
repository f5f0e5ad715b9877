#pragma once
#include <array>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include <lamina/grammar/checks.hpp>
#include <lamina/grammar/grammar.hpp>

namespace lamina::grammar {

using StateId = std::uint32_t;

/// A pushdown automaton over bytes. Bytes that no state tells apart are one class.
///
///     bytes   reads a byte of `set`, then goes to a
///     split   goes to each of `targets`
///     call    goes to a, and from its `done` to b
///     repeat  goes to a and from its `done` back here, min to max times; then to b. Counts are kept on the stack
///     done    goes to where the innermost call or repetition says; at the bottom, the text may end
class Automaton {
 public:
  enum class Kind : std::uint8_t { bytes, split, call, repeat, done };
  struct State {
    Kind kind = Kind::done;
    bool nullable = false;  ///< repeat: its body may be empty, so that the minimum says nothing
    StateId a = 0, b = 0;
    std::uint32_t min = 0, max = 0;  ///< repeat
    std::uint32_t set = 0;           ///< bytes: an index of sets
    std::vector<StateId> targets = {};
  };
  static constexpr StateId done = 0;

  /// errors  GrammarError if a rule is missing, can never end or begins with itself, or there are too many states.
  explicit Automaton(const Grammar& grammar) : grammar_(&grammar), nullable_(check(grammar)) {
    add({});
    for (std::size_t i = 0; i < grammar.rules().size(); ++i) entries_.push_back(add({.kind = Kind::split}));
    start_ = compile(grammar.root, done);
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const StateId body = compile(grammar.rules()[i].body, done);
      states_[entries_[i]].targets = {body};
    }
    find_classes();
    grammar_ = nullptr;
    compiled_ = {};
  }

  StateId start() const { return start_; }
  const State& state(StateId id) const { return states_[id]; }
  std::size_t size() const { return states_.size(); }
  int classes() const { return classes_; }
  int class_of(unsigned char byte) const { return class_of_[byte]; }
  bool reads(const State& bytes, int byte_class) const { return class_sets_[bytes.set][byte_class]; }

 private:
  StateId add(State state) {
    if (states_.size() >= grammar_->limits().nodes)
      refuse("needs more than ", grammar_->limits().nodes, " states: make it simpler");
    if (states_.size() % 1024 == 0) grammar_->check_time();
    states_.push_back(std::move(state));
    return static_cast<StateId>(states_.size() - 1);
  }

  /// The state that begins a node which is followed by `next`. A node that several others share is compiled once for
  /// each `next`.
  StateId compile(NodeId id, StateId next) {
    const Grammar::Node& node = grammar_->node(id);
    if (node.kind == Grammar::Kind::literal) return compile_literal(grammar_->text_of(node), next);
    const std::uint64_t key = std::uint64_t{id} << 32 | next;
    if (const auto found = compiled_.find(key); found != compiled_.end()) return found->second;
    const StateId begin = compile_new(node, next);
    compiled_.emplace(key, begin);
    return begin;
  }
  StateId compile_new(const Grammar::Node& node, StateId next) {
    switch (node.kind) {
      case Grammar::Kind::bytes:
        return add({.kind = Kind::bytes, .a = next, .set = set_index(grammar_->set_of(node))});
      case Grammar::Kind::sequence:
        for (auto part = node.children.rbegin(); part != node.children.rend(); ++part) next = compile(*part, next);
        return next;
      case Grammar::Kind::choice: {
        std::vector<StateId> targets;
        for (const NodeId branch : node.children) targets.push_back(compile(branch, next));
        return add({.kind = Kind::split, .targets = std::move(targets)});
      }
      case Grammar::Kind::repeat:
        return compile_repeat(node, next);
      default:  // a rule; one in last place needs no place to return to
        return next == done ? entries_[node.a] : add({.kind = Kind::call, .a = entries_[node.a], .b = next});
    }
  }
  StateId compile_literal(const std::string& text, StateId next) {
    for (auto c = text.rbegin(); c != text.rend(); ++c) {
      ByteSet set;
      set.set(static_cast<unsigned char>(*c));
      next = add({.kind = Kind::bytes, .a = next, .set = set_index(set)});
    }
    return next;
  }
  StateId compile_repeat(const Grammar::Node& node, StateId next) {
    const NodeId body = node.children.front();
    if (node.a == 0 && node.b == 1) return add({.kind = Kind::split, .targets = {compile(body, next), next}});
    if (node.b == Grammar::unbounded && node.a <= 1) {
      const StateId loop = add({.kind = Kind::split});
      const StateId begin = compile(body, loop);
      states_[loop].targets = {begin, next};
      return node.a == 0 ? loop : begin;
    }
    const bool nullable = nullable_[body];
    const StateId begin = compile(body, done);
    return add({.kind = Kind::repeat,
                .nullable = nullable,
                .a = begin,
                .b = next,
                .min = nullable ? 0 : node.a,
                .max = node.b});
  }

  std::uint32_t set_index(const ByteSet& set) {
    const auto [found, is_new] = set_ids_.emplace(set, static_cast<std::uint32_t>(sets_.size()));
    if (is_new) sets_.push_back(set);
    return found->second;
  }
  /// Bytes are of one class if the same sets have them.
  void find_classes() {
    class_of_.fill(0);
    classes_ = 1;
    for (const ByteSet& set : sets_) {
      std::array<int, 256> inside;  // of a class: the new class of its bytes that are in the set
      inside.fill(-1);
      std::array<int, 256> outside{};
      for (int byte = 0; byte < 256; ++byte) outside[class_of_[byte]] += !set[byte];
      for (int byte = 0; byte < 256; ++byte) {
        const int old = class_of_[byte];
        if (!set[byte] || outside[old] == 0) continue;
        if (inside[old] < 0) inside[old] = classes_++;
        class_of_[byte] = static_cast<std::uint8_t>(inside[old]);
      }
    }
    for (const ByteSet& set : sets_) {
      ByteSet of_classes;
      for (int byte = 0; byte < 256; ++byte)
        if (set[byte]) of_classes.set(class_of_[byte]);
      class_sets_.push_back(of_classes);
    }
  }

  const Grammar* grammar_;
  std::vector<bool> nullable_;  // by node
  std::vector<State> states_;
  std::vector<StateId> entries_;  // by rule
  std::unordered_map<std::uint64_t, StateId> compiled_;
  std::unordered_map<ByteSet, std::uint32_t> set_ids_;
  std::vector<ByteSet> sets_, class_sets_;
  std::array<std::uint8_t, 256> class_of_{};
  int classes_ = 1;
  StateId start_ = done;
};

}  // namespace lamina::grammar
