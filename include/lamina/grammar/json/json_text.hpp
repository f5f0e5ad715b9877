#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <lamina/grammar/notation/regex.hpp>

namespace lamina::grammar {

/// How JSON is laid out.
struct JsonLayout {
  bool compact = false;                   ///< ", " and ": " between values, and no other white space
  std::optional<std::string> whitespace;  ///< a regular expression for what may stand between tokens
};

/// Nodes for JSON text (RFC 8259), whatever its schema. Numbers are so short that a double holds them, white space has
/// an end, and strings hold whole characters only, so that every reader takes the answer.
class JsonText {
 public:
  static constexpr std::uint32_t most_spaces = 32;  ///< in a row
  static constexpr std::uint32_t most_digits = 15;  ///< of an integer, and of a fraction

  JsonText(Grammar& grammar, const JsonLayout& layout)
      : grammar_(grammar), characters_(grammar, Spelling::json), layout_(layout) {
    if (layout.whitespace) {
      Characters plain(grammar, Spelling::plain);
      space_ = read_regex(*layout.whitespace, plain).node;
    } else if (!layout.compact) {
      space_ = grammar.repeat(grammar.bytes(set_of(" \n\t")), 0, most_spaces);
    } else {
      space_ = grammar.empty();
    }
    space_ = grammar.rule("white space", space_);
    digit_ = grammar.bytes(set_of("0123456789"));
    const NodeId quote = grammar.literal("\"");
    string_ =
        grammar.rule("string", grammar.sequence({quote, grammar.repeat(character(), 0, Grammar::unbounded), quote}));
    integer_ = grammar.rule("integer", grammar.sequence({grammar.optional(grammar.literal("-")), natural()}));
    number_ = grammar.rule("number", grammar.sequence({integer_, grammar.optional(fraction(most_digits)), exponent()}));
    boolean_ = grammar.choice({grammar.literal("true"), grammar.literal("false")});
    null_ = grammar.literal("null");
    define_any();
  }

  Grammar& grammar() const { return grammar_; }
  /// Characters of a string, as its value has them.
  Characters& characters() { return characters_; }

  NodeId string() const { return string_; }
  NodeId integer() const { return integer_; }
  NodeId number() const { return number_; }
  NodeId boolean() const { return boolean_; }
  NodeId null() const { return null_; }
  NodeId any() const { return any_; }
  NodeId any_object() const { return any_object_; }

  /// A character of a string, escaped or not; counts as one.
  NodeId character() {
    if (character_) return *character_;
    const ByteSet hex = set_of("0123456789abcdefABCDEF");
    const auto digits = [&](std::uint32_t n) { return grammar_.repeat(grammar_.bytes(hex), n, n); };
    const NodeId u = grammar_.literal("\\u"), d = grammar_.bytes(set_of("dD"));
    // Code units of surrogates only in pairs.
    const NodeId unit = grammar_.choice({grammar_.sequence({grammar_.bytes(hex & ~set_of("dD")), digits(3)}),
                                         grammar_.sequence({d, grammar_.bytes(set_of("01234567")), digits(2)})});
    const NodeId pair = grammar_.sequence(
        {d, grammar_.bytes(set_of("89abAB")), digits(2), u, d, grammar_.bytes(set_of("cdefCDEF")), digits(2)});
    const NodeId escape = grammar_.sequence({grammar_.literal("\\"), grammar_.bytes(set_of("\"\\/bfnrt"))});
    character_ = grammar_.rule(
        "character", grammar_.choice({unescaped(), escape, grammar_.sequence({u, grammar_.choice({unit, pair})})}));
    return *character_;
  }
  /// A character that is written as it is.
  NodeId unescaped() { return characters_.of(plain_characters()); }
  static CodePoints plain_characters() { return CodePoints{{0, 0x1f}, {'"', '"'}, {'\\', '\\'}}.inverse(); }

  /// A point and 1 to n digits.
  NodeId fraction(std::uint32_t n) { return grammar_.sequence({grammar_.literal("."), grammar_.repeat(digit_, 1, n)}); }
  /// One that is not all zeros.
  NodeId fraction_above_0(std::uint32_t n) {
    return grammar_.sequence(
        {grammar_.literal("."), grammar_.repeat(digit_, 0, n - 1), grammar_.bytes(set_of("123456789"))});
  }

  /// Members in braces, with their commas; or nothing in them, if that may be.
  NodeId braces(std::optional<NodeId> members, bool may_be_empty) { return enclosed("{", members, may_be_empty, "}"); }
  NodeId brackets(std::optional<NodeId> items, bool may_be_empty) { return enclosed("[", items, may_be_empty, "]"); }
  NodeId comma() { return separator(",", layout_.compact && !layout_.whitespace); }
  NodeId member(NodeId key, NodeId value) {
    return grammar_.sequence({key, separator(":", layout_.compact && !layout_.whitespace), value});
  }
  /// The parts with commas between them: at least one.
  NodeId list(NodeId part, std::uint32_t min = 1, std::uint32_t max = Grammar::unbounded) {
    const NodeId more = grammar_.sequence({comma(), part});
    return grammar_.sequence({part, grammar_.repeat(more, min - 1, max == Grammar::unbounded ? max : max - 1)});
  }

  static ByteSet set_of(std::string_view characters) {
    ByteSet set;
    for (const char c : characters) set.set(static_cast<unsigned char>(c));
    return set;
  }

 private:
  NodeId natural() {
    return grammar_.choice({grammar_.literal("0"), grammar_.sequence({grammar_.bytes(set_of("123456789")),
                                                                      grammar_.repeat(digit_, 0, most_digits - 1)})});
  }
  NodeId exponent() {
    return grammar_.optional(
        grammar_.sequence({grammar_.bytes(set_of("eE")), grammar_.optional(grammar_.bytes(set_of("+-"))),
                           grammar_.repeat(digit_, 1, 2)}));
  }
  void define_any() {
    const RuleId any = grammar_.declare("value");
    any_ = grammar_.rule(any);
    any_object_ = grammar_.rule("object", braces(list(member(string_, any_)), true));
    any_array_ = grammar_.rule("array", brackets(list(any_), true));
    grammar_.define(any, grammar_.choice({any_object_, any_array_, string_, number_, boolean_, null_}));
  }
  NodeId enclosed(const char* open, std::optional<NodeId> inner, bool may_be_empty, const char* close) {
    const NodeId end = grammar_.literal(close);
    std::vector<NodeId> branches;
    if (inner) branches.push_back(grammar_.sequence({*inner, space_, end}));
    if (may_be_empty) branches.push_back(end);
    return grammar_.sequence({grammar_.literal(open), space_, grammar_.choice(std::move(branches))});
  }
  NodeId separator(const char* sign, bool spaced) {
    if (spaced) return grammar_.literal(std::string(sign) + " ");
    return grammar_.sequence({space_, grammar_.literal(sign), space_});
  }

  Grammar& grammar_;
  Characters characters_;
  JsonLayout layout_;
  NodeId space_ = 0, digit_ = 0, string_ = 0, integer_ = 0, number_ = 0, boolean_ = 0, null_ = 0;
  NodeId any_ = 0, any_object_ = 0, any_array_ = 0;
  std::optional<NodeId> character_;
};

}  // namespace lamina::grammar
