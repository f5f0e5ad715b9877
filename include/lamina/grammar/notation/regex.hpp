#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <lamina/grammar/notation/reader.hpp>

namespace lamina::grammar {

/// A node with the least and the greatest number of characters of its texts.
struct Pattern {
  NodeId node = 0;
  std::uint64_t shortest = 0, longest = 0;  ///< `endless` if there is no greatest
  static constexpr std::uint64_t endless = ~std::uint64_t{0};
};

namespace detail {

class RegexReader {
 public:
  RegexReader(std::string_view text, Characters& characters)
      : reader_(text, "regex", characters.grammar().limits()),
        characters_(characters),
        grammar_(characters.grammar()) {}

  Pattern read() {
    Pattern whole = alternatives(true);
    if (!reader_.at_end()) reader_.wrong("a ) without its (");
    return whole;
  }

 private:
  static std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
    return a > Pattern::endless - b ? Pattern::endless : a + b;
  }
  static std::uint64_t product(std::uint64_t a, std::uint64_t b) {
    if (a == 0 || b == 0) return 0;
    return a > Pattern::endless / b ? Pattern::endless : a * b;
  }

  /// at_start: whether nothing of the text comes before
  Pattern alternatives(bool at_start) {
    const Reader::Level level(reader_);
    Pattern all{0, Pattern::endless, 0};
    std::vector<NodeId> branches;
    do {
      const Pattern branch = sequence(at_start);
      branches.push_back(branch.node);
      all.shortest = std::min(all.shortest, branch.shortest);
      all.longest = std::max(all.longest, branch.longest);
    } while (reader_.take("|"));
    all.node = grammar_.choice(std::move(branches));
    return all;
  }
  Pattern sequence(bool at_start) {
    Pattern all;
    std::vector<NodeId> parts;
    while (!reader_.at_end() && !reader_.sees("|") && !reader_.sees(")")) {
      if (reader_.take("^")) {
        if (!at_start || !parts.empty()) reader_.wrong("^ is understood at the beginning only");
        continue;
      }
      if (reader_.take("$")) {
        check_end();
        continue;
      }
      const Pattern part = repeated(atom(at_start && parts.empty()));
      parts.push_back(part.node);
      all.shortest = sum(all.shortest, part.shortest);
      all.longest = sum(all.longest, part.longest);
    }
    all.node = grammar_.sequence(std::move(parts));
    return all;
  }
  /// After a $: only parentheses may close, or the next alternative of the whole begin.
  void check_end() const {
    const std::string_view rest = reader_.rest();
    const bool next_branch = reader_.level() == 1 && rest.starts_with("|");
    if (!next_branch && rest.find_first_not_of(')') != std::string_view::npos)
      reader_.wrong("$ is understood at the end only");
  }
  Pattern repeated(Pattern body) {
    std::uint32_t min = 1, max = 1;
    if (reader_.take("*")) {
      min = 0, max = Grammar::unbounded;
    } else if (reader_.take("+")) {
      max = Grammar::unbounded;
    } else if (reader_.take("?")) {
      min = 0;
    } else if (reader_.take("{")) {
      std::tie(min, max) = reader_.bounds();
    } else {
      return body;
    }
    reader_.take("?");  // as few as possible: of what may be matched, nothing changes
    for (const char* sign : {"*", "+", "?", "{"})
      if (reader_.sees(sign)) reader_.wrong("a repetition of a repetition (", sign, "): use (?: )");
    const std::uint64_t most = max == Grammar::unbounded ? Pattern::endless : max;
    return {grammar_.repeat(body.node, min, max), product(body.shortest, min), product(body.longest, most)};
  }
  Pattern atom(bool at_start) {
    if (reader_.take("(")) {
      open_group();
      const Pattern inner = alternatives(at_start);
      if (!reader_.take(")")) reader_.wrong("a ( without its )");
      return inner;
    }
    if (reader_.take("[")) return one_of(character_class());
    if (reader_.take(".")) return one_of(line_ends().inverse());
    if (reader_.take("\\")) return one_of(escape(false));
    for (const char* sign : {"*", "+", "?", "{"})
      if (reader_.sees(sign)) reader_.wrong(sign, " repeats nothing");
    return one_of(CodePoints::of(reader_.next()));
  }
  void open_group() {
    if (!reader_.take("?") || reader_.take(":")) return;
    for (const auto& [sign, name] : {std::pair{"=", "look-ahead (?=)"},
                                     {"!", "look-ahead (?!)"},
                                     {"<=", "look-behind (?<=)"},
                                     {"<!", "look-behind (?<!)"},
                                     {">", "atomic group (?>)"}})
      if (reader_.sees(sign)) reader_.wrong("a ", name, " is not supported");
    reader_.take("P");
    if (!reader_.take("<")) reader_.wrong("inline flags (?i) and the like are not supported");
    while (reader_.next() != '>') {
    }
  }
  Pattern one_of(const CodePoints& set) {
    if (set.empty()) reader_.wrong("a set of no characters");
    return {characters_.of(set), 1, 1};
  }

  static CodePoints line_ends() { return {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}; }
  static CodePoints digits() { return {{'0', '9'}}; }
  static CodePoints words() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
  static CodePoints spaces() {
    return {{'\t', '\r'},     {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
            {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}, {0xfeff, 0xfeff}};
  }

  /// What a backslash means, after it.
  CodePoints escape(bool in_class) {
    static const std::map<char32_t, CodePoints> sets{
        {'d', digits()},       {'D', digits().inverse()}, {'w', words()},        {'W', words().inverse()},
        {'s', spaces()},       {'S', spaces().inverse()}, {'t', {{'\t', '\t'}}}, {'n', {{'\n', '\n'}}},
        {'r', {{'\r', '\r'}}}, {'f', {{'\f', '\f'}}},     {'v', {{'\v', '\v'}}}, {'0', {{0, 0}}}};
    const char32_t c = reader_.next();
    if (const auto found = sets.find(c); found != sets.end()) return found->second;
    if (c == 'x') return CodePoints::of(reader_.hex(2));
    if (c == 'u') return CodePoints::of(unicode());
    if (c == 'b' && in_class) return CodePoints::of('\b');
    refuse_escape(c);
    return CodePoints::of(c);
  }
  void refuse_escape(char32_t c) const {
    if (c == 'b' || c == 'B') reader_.wrong("a word boundary \\b is not supported");
    if (c == 'p' || c == 'P')
      reader_.wrong("a Unicode property \\p{} is not supported: list the characters in a class");
    if (c == 'A' || c == 'z' || c == 'Z') reader_.wrong("the anchors \\A and \\Z are not supported: use ^ and $");
    if (c == 'k' || (c >= '1' && c <= '9')) reader_.wrong("a back reference \\1 is not supported");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) reader_.wrong("an escape that is not supported");
  }
  char32_t unicode() {
    if (!reader_.take("{")) return reader_.hex(4);
    int length = 0;
    while (length < 7 && static_cast<std::size_t>(length) < reader_.rest().size() && reader_.rest()[length] != '}')
      ++length;
    if (length < 1 || length > 6) reader_.wrong("wanted \\u{} with 1 to 6 hexadecimal digits");
    const char32_t c = reader_.hex(length);
    reader_.expect("}");
    return c;
  }
  /// After the opening bracket.
  CodePoints character_class() {
    const bool inverse = reader_.take("^");
    CodePoints set;
    while (!reader_.take("]")) {
      const CodePoints first = class_member();
      const bool range = reader_.sees("-") && !reader_.sees("-]");
      if (!range) {
        set.add(first);
        continue;
      }
      reader_.take("-");
      const CodePoints last = class_member();
      const auto single = [](const CodePoints& s) {
        return s.ranges().size() == 1 && s.ranges()[0].first == s.ranges()[0].last;
      };
      if (!single(first) || !single(last) || first.ranges()[0].first > last.ranges()[0].first)
        reader_.wrong("a range in [ ] that is not one");
      set.add({first.ranges()[0].first, last.ranges()[0].first});
    }
    return inverse ? set.inverse() : set;
  }
  CodePoints class_member() {
    if (reader_.sees("[:")) reader_.wrong("a class of POSIX, such as [:alpha:], is not supported");
    return reader_.take("\\") ? escape(true) : CodePoints::of(reader_.next());
  }

  Reader reader_;
  Characters& characters_;
  Grammar& grammar_;
};

}  // namespace detail

/// A regular expression as vLLM's users write it: that of ECMAScript without assertions inside it, back references,
/// flags and Unicode properties. A text is matched as a whole, with or without ^ and $.
/// errors  GrammarError names what is not supported and the byte.
inline Pattern read_regex(std::string_view regex, Characters& characters) {
  return detail::RegexReader(regex, characters).read();
}

/// A grammar whose texts match a regular expression.
inline Grammar regex_grammar(std::string_view regex, const GrammarLimits& limits = {}) {
  Grammar grammar(limits);
  Characters characters(grammar, Spelling::plain);
  grammar.root = read_regex(regex, characters).node;
  return grammar;
}

}  // namespace lamina::grammar
