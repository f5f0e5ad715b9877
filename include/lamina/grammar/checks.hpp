#pragma once
#include <algorithm>
#include <vector>

#include <lamina/grammar/grammar.hpp>

namespace lamina::grammar {

namespace detail {

/// Facts about nodes that follow from rules which name each other: computed until nothing changes.
class NodeFacts {
 public:
  explicit NodeFacts(const Grammar& grammar) : grammar_(grammar), nullable_(grammar.size()), ends_(grammar.size()) {
    bool changed = true;
    while (changed) {
      grammar_.check_time();
      changed = false;
      for (NodeId id = 0; id < grammar_.size(); ++id) {
        changed |= learn(nullable_, id, &NodeFacts::is_nullable);
        changed |= learn(ends_, id, &NodeFacts::can_end);
      }
    }
  }
  const std::vector<bool>& nullable() const { return nullable_; }
  bool ends(NodeId id) const { return ends_[id]; }

 private:
  using Kind = Grammar::Kind;
  bool learn(std::vector<bool>& fact, NodeId id, bool (NodeFacts::*holds)(const Grammar::Node&) const) {
    if (fact[id] || !(this->*holds)(grammar_.node(id))) return false;
    return fact[id] = true;
  }
  bool is_nullable(const Grammar::Node& node) const {
    if (node.kind == Kind::literal) return grammar_.text_of(node).empty();
    if (node.kind == Kind::repeat && node.a == 0) return true;
    return node.kind != Kind::bytes && holds(nullable_, node);
  }
  bool can_end(const Grammar::Node& node) const {
    if (node.kind == Kind::literal || (node.kind == Kind::repeat && node.a == 0)) return true;
    return node.kind == Kind::bytes ? grammar_.set_of(node).any() : holds(ends_, node);
  }
  bool holds(const std::vector<bool>& fact, const Grammar::Node& node) const {
    const auto has = [&](NodeId id) { return fact[id]; };
    if (node.kind == Kind::rule) return has(grammar_.rules()[node.a].body);
    if (node.kind == Kind::choice) return std::any_of(node.children.begin(), node.children.end(), has);
    return std::all_of(node.children.begin(), node.children.end(), has);
  }

  const Grammar& grammar_;
  std::vector<bool> nullable_, ends_;
};

/// Looks for a rule whose text may begin with itself: an automaton would call it without end.
class LeftRecursion {
 public:
  LeftRecursion(const Grammar& grammar, const std::vector<bool>& nullable) : grammar_(grammar), nullable_(nullable) {
    std::vector<std::vector<RuleId>> firsts;
    for (const Grammar::Rule& rule : grammar.rules()) firsts.push_back(first_rules(rule.body));
    enum class Mark : std::uint8_t { none, open, closed };
    std::vector<Mark> marks(firsts.size(), Mark::none);
    for (RuleId root = 0; root < firsts.size(); ++root) {
      if (marks[root] != Mark::none) continue;
      std::vector<std::pair<RuleId, std::size_t>> path{{root, 0}};
      marks[root] = Mark::open;
      while (!path.empty()) {
        auto& [rule, next] = path.back();
        if (next == firsts[rule].size()) {
          marks[rule] = Mark::closed;
          path.pop_back();
          continue;
        }
        const RuleId first = firsts[rule][next++];
        if (marks[first] == Mark::open)
          refuse("\"", shown(grammar.rules()[first].name),
                 "\" begins with itself (left recursion): write it as a repetition");
        if (marks[first] == Mark::none) marks[first] = Mark::open, path.emplace_back(first, 0);
      }
    }
  }

 private:
  /// The rules with which the text of a node may begin.
  std::vector<RuleId> first_rules(NodeId body) {
    std::vector<RuleId> rules;
    std::vector<NodeId> open{body}, seen;
    std::vector<bool>& is_seen = seen_;
    is_seen.resize(grammar_.size());
    while (!open.empty()) {
      const NodeId id = open.back();
      open.pop_back();
      if (is_seen[id]) continue;
      is_seen[id] = true;
      seen.push_back(id);
      const Grammar::Node& node = grammar_.node(id);
      if (node.kind == Grammar::Kind::rule) rules.push_back(node.a);
      for (const NodeId child : node.children) {
        open.push_back(child);
        if (node.kind == Grammar::Kind::sequence && !nullable_[child]) break;
      }
    }
    for (const NodeId id : seen) is_seen[id] = false;
    return rules;
  }

  const Grammar& grammar_;
  const std::vector<bool>& nullable_;
  std::vector<bool> seen_;
};

}  // namespace detail

/// Which nodes may be the empty text.
/// errors  GrammarError if a rule is not defined, can never end, or begins with itself.
inline std::vector<bool> check(const Grammar& grammar) {
  for (const Grammar::Rule& rule : grammar.rules())
    if (rule.body == Grammar::undefined) refuse("\"", shown(rule.name), "\" is used but not defined");
  const detail::NodeFacts facts(grammar);
  for (const Grammar::Rule& rule : grammar.rules())
    if (!facts.ends(rule.body))
      refuse("\"", shown(rule.name), "\" can never end: each of its texts contains another one");
  if (!facts.ends(grammar.root)) refuse("no text can ever end");
  detail::LeftRecursion(grammar, facts.nullable());
  return facts.nullable();
}

}  // namespace lamina::grammar
