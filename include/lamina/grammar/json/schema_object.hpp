#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <lamina/grammar/json/json_text.hpp>
#include <lamina/grammar/json/schema_place.hpp>

namespace lamina::grammar {

namespace detail {

/// Keys of a JSON object other than some names: at least one character, none of them escaped, so that no other
/// spelling of a name is one.
class OtherKeys {
 public:
  OtherKeys(JsonText& text, const std::set<std::string>& names) : text_(text), grammar_(text.grammar()) {
    const NodeId quote = grammar_.literal("\"");
    rest_ = grammar_.sequence({grammar_.repeat(text.unescaped(), 0, Grammar::unbounded), quote});
    nodes_.push_back({.rule = grammar_.declare("other key")});
    for (const std::string& name : names) add(name);
    for (const Node& node : nodes_) {
      std::vector<NodeId> branches;
      CodePoints others = JsonText::plain_characters();
      for (const auto& [c, child] : node.children) {
        others = others.without(CodePoints::of(c));
        branches.push_back(
            grammar_.sequence({text.characters().of(CodePoints::of(c)), grammar_.rule(nodes_[child].rule)}));
      }
      branches.push_back(grammar_.sequence({text.characters().of(others), rest_}));
      if (!node.is_name && &node != &nodes_.front()) branches.push_back(quote);
      grammar_.define(node.rule, grammar_.choice(std::move(branches)));
    }
    node_ = grammar_.sequence({quote, grammar_.rule(nodes_.front().rule)});
  }
  NodeId node() const { return node_; }

 private:
  struct Node {
    RuleId rule;
    std::map<char32_t, std::size_t> children = {};
    bool is_name = false;
  };
  void add(const std::string& name) {
    std::size_t at = 0;
    const CodePoints plain = JsonText::plain_characters();
    for (std::size_t i = 0; i < name.size();) {
      const io::Utf8Step step = io::read_utf8(name, i);
      i += static_cast<std::size_t>(step.size);
      if (!plain.has(step.value)) return;  // it is never spelt without escapes
      const auto [found, is_new] = nodes_[at].children.try_emplace(step.value, nodes_.size());
      at = found->second;
      if (is_new) nodes_.push_back({.rule = grammar_.declare("other key")});
    }
    nodes_[at].is_name = true;
  }

  JsonText& text_;
  Grammar& grammar_;
  std::vector<Node> nodes_;
  NodeId rest_ = 0, node_ = 0;
};

/// What may be in an object: members in the order of `properties`, then others.
struct ObjectParts {
  struct Member {
    NodeId node;
    bool required;
  };
  std::vector<Member> members;
  std::optional<NodeId> other;  ///< a member with another name
  std::uint32_t min_others = 0, max_others = Grammar::unbounded;
};

/// The object's text. Each member comes after a comma unless it is the first, so that there are two ways to go on:
/// `some` after a member, `first` before any.
inline NodeId object_node(JsonText& text, const ObjectParts& parts) {
  Grammar& grammar = text.grammar();
  NodeId some = grammar.empty();
  std::optional<NodeId> first;
  if (parts.other && parts.max_others > 0) {
    some = grammar.repeat(grammar.sequence({text.comma(), *parts.other}), parts.min_others, parts.max_others);
    first = text.list(*parts.other, std::max(parts.min_others, 1u), parts.max_others);
  }
  bool may_be_empty = parts.min_others == 0;
  for (auto member = parts.members.rbegin(); member != parts.members.rend(); ++member) {
    const NodeId begun = grammar.sequence({member->node, some});
    const NodeId next = grammar.sequence({text.comma(), begun});
    may_be_empty &= !member->required;
    first = member->required || !first ? begun : grammar.choice({begun, *first});
    some = member->required ? next : grammar.choice({next, some});
    first = grammar.rule("members", *first);
    some = grammar.rule("more members", some);
  }
  return text.braces(first, may_be_empty);
}

}  // namespace detail
}  // namespace lamina::grammar
