#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/grammar/notation/reader.hpp>

namespace lamina::grammar {

namespace detail {

class EbnfReader {
 public:
  EbnfReader(std::string_view text, Grammar& grammar)
      : reader_(text, "grammar", grammar.limits()), grammar_(grammar), characters_(grammar, Spelling::plain) {}

  /// The node of a rule, by default the one named root.
  NodeId read(const std::string& root) {
    skip(true);
    if (reader_.at_end()) reader_.wrong("is empty, wanted rules such as root ::= \"yes\" | \"no\"");
    while (!reader_.at_end()) rule();
    const auto found = rules_.find(root);
    if (found == rules_.end()) refuse("grammar: has no rule named ", root, ": that is where an answer begins");
    for (const auto& [name, id] : rules_)
      if (grammar_.rules()[id].body == Grammar::undefined)
        refuse("grammar: the rule ", shown(name), " is used but not defined");
    return grammar_.rule(found->second);
  }

 private:
  static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  }
  /// Spaces and comments; line ends only if more may follow on the next line.
  void skip(bool lines) {
    while (!reader_.at_end()) {
      if (reader_.sees("#"))
        while (!reader_.at_end() && !reader_.sees("\n")) reader_.next();
      else if (!(reader_.take(" ") || reader_.take("\t") || (lines && (reader_.take("\n") || reader_.take("\r")))))
        return;
    }
  }
  std::string name() {
    std::string word;
    while (!reader_.at_end() && is_word(reader_.rest().front()) && !(word.empty() && reader_.sees(".")))
      word += static_cast<char>(reader_.next());
    return word;
  }
  RuleId rule_named(const std::string& name) {
    const auto [found, is_new] = rules_.try_emplace(name, 0);
    if (is_new) found->second = grammar_.declare(name);
    return found->second;
  }
  void rule() {
    const std::string defined = name();
    if (defined.empty()) reader_.wrong("wanted the name of a rule");
    skip(false);
    if (!reader_.take("::=")) {
      if (reader_.sees(":")) reader_.wrong("this looks like Lark; wanted EBNF: root ::= ...");
      reader_.wrong("wanted ::= after ", shown(defined));
    }
    const RuleId id = rule_named(defined);
    if (grammar_.rules()[id].body != Grammar::undefined)
      reader_.wrong("the rule ", shown(defined), " is defined twice");
    skip(true);
    grammar_.define(id, alternatives());
    skip(true);
  }
  /// Whether the next thing begins another rule, and not a part of this one.
  bool at_next_rule() const {
    std::string_view rest = reader_.rest();
    std::size_t at = 0;
    while (at < rest.size() && is_word(rest[at])) ++at;
    if (at == 0) return false;
    while (at < rest.size() && (rest[at] == ' ' || rest[at] == '\t')) ++at;
    return rest.substr(at).starts_with("::=");
  }
  NodeId alternatives() {
    const Reader::Level level(reader_);
    std::vector<NodeId> branches;
    do {
      skip(true);
      branches.push_back(sequence());
    } while (reader_.take("|"));
    return grammar_.choice(std::move(branches));
  }
  NodeId sequence() {
    std::vector<NodeId> parts;
    while (skip(true), !reader_.at_end() && !reader_.sees("|") && !reader_.sees(")") && !at_next_rule()) {
      NodeId part = atom();
      skip(false);
      parts.push_back(repeated(part));
    }
    return grammar_.sequence(std::move(parts));
  }
  NodeId repeated(NodeId body) {
    while (true) {
      if (reader_.take("*")) {
        body = grammar_.repeat(body, 0, Grammar::unbounded);
      } else if (reader_.take("+")) {
        body = grammar_.repeat(body, 1, Grammar::unbounded);
      } else if (reader_.take("?")) {
        body = grammar_.optional(body);
      } else if (reader_.take("{")) {
        const auto [min, max] = reader_.bounds();
        body = grammar_.repeat(body, min, max);
      } else {
        return body;
      }
    }
  }
  NodeId atom() {
    if (reader_.sees("(=")) reader_.wrong("a look-ahead (= ) is not supported");
    if (reader_.take("(")) {
      const NodeId inner = alternatives();
      skip(true);
      if (!reader_.take(")")) reader_.wrong("a ( without its )");
      return inner;
    }
    for (const char* quote : {"\"", "'"})
      if (reader_.take(quote)) return literal(quote);
    if (reader_.take("[")) return characters_.of(character_class());
    if (reader_.take(".")) return characters_.of(CodePoints::all());
    const std::string word = name();
    if (word.empty()) reader_.wrong("wanted a text in quotes, a class in [ ], a group in ( ) or the name of a rule");
    return grammar_.rule(rule_named(word));
  }
  NodeId literal(std::string_view quote) {
    std::string text;
    while (!reader_.take(quote)) io::append_utf8(text, character());
    return grammar_.literal(std::move(text));
  }
  char32_t character() {
    if (reader_.sees("\n")) reader_.wrong("a line ends inside a text or class");
    const char32_t c = reader_.next();
    if (c != '\\') return c;
    const char32_t escaped = reader_.next();
    switch (escaped) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'b':
        return '\b';
      case 'f':
        return '\f';
      case '0':
        return 0;
      case 'x':
        return reader_.hex(2);
      case 'u':
        return scalar(reader_.hex(4));
      case 'U':
        return scalar(reader_.hex(8));
      default:
        break;
    }
    if ((escaped >= 'a' && escaped <= 'z') || (escaped >= 'A' && escaped <= 'Z'))
      reader_.wrong("an escape that is not supported");
    return escaped;
  }
  char32_t scalar(char32_t c) const {
    if (c >= 0xd800 && c <= 0xdfff) reader_.wrong("half of a surrogate pair: write the character itself, or \\U");
    return c;
  }
  /// After the opening bracket.
  CodePoints character_class() {
    const bool inverse = reader_.take("^");
    CodePoints set;
    while (!reader_.take("]")) {
      const char32_t first = character();
      char32_t last = first;
      if (!reader_.sees("-]") && reader_.take("-")) last = character();
      if (last < first) reader_.wrong("a range in [ ] that is not one");
      set.add({first, last});
    }
    return inverse ? set.inverse() : set;
  }

  Reader reader_;
  Grammar& grammar_;
  Characters characters_;
  std::map<std::string, RuleId> rules_;
};

}  // namespace detail

/// What the rule named root is, as a part of another grammar; see ebnf_grammar().
inline NodeId ebnf_node(Grammar& grammar, std::string_view ebnf) {
  return detail::EbnfReader(ebnf, grammar).read("root");
}

/// EBNF as xgrammar and llama.cpp (GBNF) take it:
///
///     root  ::= "yes" | number ("," number)*   # a comment
///     number ::= [0-9]+ | "-" [0-9]{1,5}
///
/// Rules are in any order; `root` is where an answer begins. A rule may not begin with itself.
/// errors  GrammarError names the rule, or the byte.
inline Grammar ebnf_grammar(std::string_view ebnf, const GrammarLimits& limits = {}) {
  Grammar grammar(limits);
  grammar.root = ebnf_node(grammar, ebnf);
  return grammar;
}

/// One of these texts.
inline Grammar choice_grammar(const std::vector<std::string>& choices, const GrammarLimits& limits = {}) {
  Grammar grammar(limits);
  if (choices.empty()) refuse("choice: is empty, wanted at least one text");
  std::vector<NodeId> branches;
  std::size_t bytes = 0;
  for (const std::string& choice : choices) {
    if ((bytes += choice.size()) > limits.text_bytes) refuse("choice: has more than ", limits.text_bytes, " bytes");
    branches.push_back(grammar.literal(choice));
  }
  grammar.root = grammar.choice(std::move(branches));
  return grammar;
}

}  // namespace lamina::grammar
