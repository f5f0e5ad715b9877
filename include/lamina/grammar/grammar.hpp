#pragma once
#include <algorithm>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>

/// Structured output: texts that an answer may be, as a context-free grammar over bytes, and the tokens that may come
/// next. Front ends (json_schema.hpp, regex.hpp, ebnf.hpp, structural_tag.hpp) build a Grammar, automaton.hpp compiles
/// it, matcher.hpp follows an answer. Nothing here knows models or requests.
namespace lamina::grammar {

/// A grammar that cannot be read: what() names the place, what was found and what was expected.
struct GrammarError : Error {
  using Error::Error;
};
template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw GrammarError(cat(parts...));
}

/// The first byte of the character that a byte of UTF-8 is part of.
inline std::size_t character_start(const std::string& text, std::size_t at) {
  while (at > 0 && at < text.size() && (text[at] & 0xc0) == 0x80) --at;
  return at;
}
/// A piece of input fit for a message: its middle is left out if it is long.
inline std::string shown(const std::string& text, std::size_t most = 60) {
  if (text.size() <= most) return text;
  return text.substr(0, character_start(text, most / 2)) + "..." +
         text.substr(character_start(text, text.size() - most / 2));
}

/// Bounds of a grammar and of the work on it. A grammar beyond is a GrammarError.
struct GrammarLimits {
  std::size_t text_bytes = 64 << 10;  ///< of the schema, regex, EBNF or list of choices
  int nesting = 200;                  ///< of its parentheses, brackets or schemas
  std::size_t nodes = 1 << 20;        ///< of the grammar, and states of its automaton
  std::chrono::milliseconds time{2000};
};

using ByteSet = std::bitset<256>;
using NodeId = std::uint32_t;
using RuleId = std::uint32_t;

/// A context-free grammar over bytes, as a graph of nodes that rules name. Nodes are never changed, so that any number
/// of others may share one.
class Grammar {
 public:
  static constexpr std::uint32_t unbounded = std::numeric_limits<std::uint32_t>::max();
  enum class Kind : std::uint8_t { literal, bytes, sequence, choice, repeat, rule };
  struct Node {
    Kind kind;
    std::uint32_t a = 0, b = 0;  ///< literal: index of its text; bytes: of its set; repeat: min, max; rule: its id
    std::vector<NodeId> children = {};
    int height = 1;
  };
  struct Rule {
    std::string name;
    NodeId body = undefined;
  };
  static constexpr NodeId undefined = std::numeric_limits<NodeId>::max();

  explicit Grammar(const GrammarLimits& limits = {}) : limits_(limits), until_(Clock::now() + limits.time) {}

  /// Exactly these bytes; none of them is the empty text.
  NodeId literal(std::string text) {
    literals_.push_back(std::move(text));
    return add({Kind::literal, static_cast<std::uint32_t>(literals_.size() - 1)});
  }
  NodeId empty() { return literal(""); }
  /// One byte of a set, which is not empty.
  NodeId bytes(const ByteSet& set) {
    sets_.push_back(set);
    return add({Kind::bytes, static_cast<std::uint32_t>(sets_.size() - 1)});
  }
  NodeId sequence(std::vector<NodeId> parts) {
    if (parts.size() == 1) return parts.front();
    return parts.empty() ? empty() : add({Kind::sequence, 0, 0, std::move(parts)});
  }
  NodeId choice(std::vector<NodeId> branches) {
    if (branches.empty()) fail("grammar: a choice without branches");
    return branches.size() == 1 ? branches.front() : add({Kind::choice, 0, 0, std::move(branches)});
  }
  NodeId optional(NodeId body) { return repeat(body, 0, 1); }
  /// min to max times; `unbounded`: without an end.
  NodeId repeat(NodeId body, std::uint32_t min, std::uint32_t max) {
    if (min > max) fail("grammar: a repetition of ", min, " to ", max, " times");
    if (max == 0) return empty();
    return min == 1 && max == 1 ? body : add({Kind::repeat, min, max, {body}});
  }
  /// A name for a text that is defined later, or here.
  RuleId declare(std::string name) {
    rules_.push_back({std::move(name)});
    return static_cast<RuleId>(rules_.size() - 1);
  }
  void define(RuleId rule, NodeId body) { rules_[rule].body = body; }
  NodeId rule(RuleId id) { return add({Kind::rule, id}); }
  NodeId rule(std::string name, NodeId body) {
    const RuleId id = declare(std::move(name));
    define(id, body);
    return rule(id);
  }

  const Node& node(NodeId id) const { return nodes_[id]; }
  const std::string& text_of(const Node& literal) const { return literals_[literal.a]; }
  const ByteSet& set_of(const Node& bytes) const { return sets_[bytes.a]; }
  const std::vector<Rule>& rules() const { return rules_; }
  std::size_t size() const { return nodes_.size(); }
  const GrammarLimits& limits() const { return limits_; }
  NodeId root = undefined;  ///< what an answer is

  /// errors  GrammarError once the grammar's time is over.
  void check_time() const {
    if (Clock::now() > until_) refuse("takes more than ", limits_.time.count(), " ms to compile: make it simpler");
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr int highest = 2000;  // whatever walks nodes is recursive

  NodeId add(Node node) {
    for (const NodeId child : node.children) node.height = std::max(node.height, nodes_[child].height + 1);
    if (node.height > highest) refuse("is nested too deeply");
    bytes_ += 1 + node.children.size() + (node.kind == Kind::literal ? literals_[node.a].size() : 0);
    if (bytes_ > limits_.nodes) refuse("has more than ", limits_.nodes, " parts: make it simpler");
    if (nodes_.size() % 1024 == 0) check_time();
    nodes_.push_back(std::move(node));
    return static_cast<NodeId>(nodes_.size() - 1);
  }

  GrammarLimits limits_;
  Clock::time_point until_;
  std::size_t bytes_ = 0;
  std::vector<Node> nodes_;
  std::vector<std::string> literals_;
  std::vector<ByteSet> sets_;
  std::vector<Rule> rules_;
};

}  // namespace lamina::grammar
