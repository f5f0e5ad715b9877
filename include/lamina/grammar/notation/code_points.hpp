#pragma once
#include <algorithm>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <lamina/grammar/grammar.hpp>

namespace lamina::grammar {

/// A set of code points, as ranges in order with gaps between them.
class CodePoints {
 public:
  struct Range {
    char32_t first, last;
    auto operator<=>(const Range&) const = default;
  };
  static constexpr char32_t highest = 0x10ffff;

  CodePoints() = default;
  CodePoints(std::initializer_list<Range> ranges) {
    for (const Range& range : ranges) add(range);
  }
  static CodePoints of(char32_t c) { return {{c, c}}; }
  static CodePoints all() { return {{0, highest}}; }

  void add(Range range) {
    auto begin =
        std::find_if(ranges_.begin(), ranges_.end(), [&](const Range& r) { return r.last + 1 >= range.first; });
    auto end = begin;
    for (; end != ranges_.end() && end->first <= range.last + 1; ++end) {
      range.first = std::min(range.first, end->first);
      range.last = std::max(range.last, end->last);
    }
    ranges_.insert(ranges_.erase(begin, end), range);
  }
  void add(const CodePoints& other) {
    for (const Range& range : other.ranges_) add(range);
  }
  CodePoints inverse() const {
    CodePoints out;
    char32_t next = 0;
    for (const Range& range : ranges_) {
      if (range.first > next) out.ranges_.push_back({next, range.first - 1});
      next = range.last + 1;
    }
    if (next <= highest) out.ranges_.push_back({next, highest});
    return out;
  }
  CodePoints without(const CodePoints& other) const {
    CodePoints either = inverse();
    either.add(other);
    return either.inverse();
  }
  bool has(char32_t c) const {
    return std::any_of(ranges_.begin(), ranges_.end(), [c](const Range& r) { return r.first <= c && c <= r.last; });
  }
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }
  auto operator<=>(const CodePoints&) const = default;

 private:
  std::vector<Range> ranges_;
};

/// How characters of a text are written: as UTF-8, or as UTF-8 inside the quotes of a JSON string.
enum class Spelling { plain, json };

/// Makes nodes of sets of characters.
class Characters {
 public:
  Characters(Grammar& grammar, Spelling spelling) : grammar_(grammar), spelling_(spelling) {}

  Grammar& grammar() const { return grammar_; }
  /// One character of a set. errors  GrammarError if it is empty
  NodeId of(const CodePoints& set) {
    if (const auto found = known_.find(set); found != known_.end()) return found->second;
    std::vector<NodeId> branches;
    if (spelling_ == Spelling::plain) {
      add_utf8(set, branches);
    } else {
      add_utf8(set.without(escaped()), branches);
      for (const CodePoints::Range& range : escaped().ranges())
        for (char32_t c = range.first; c <= range.last; ++c)
          if (set.has(c)) branches.push_back(escape(c));
    }
    if (branches.empty()) refuse("a set of characters is empty");
    return known_[set] = grammar_.choice(std::move(branches));
  }

 private:
  static const CodePoints& escaped() {
    static const CodePoints set{{0, 0x1f}, {'"', '"'}, {'\\', '\\'}};
    return set;
  }
  NodeId escape(char32_t c) {
    static const std::map<char32_t, std::string> shorts{{'"', "\\\""}, {'\\', "\\\\"}, {'\b', "\\b"}, {'\f', "\\f"},
                                                        {'\n', "\\n"}, {'\r', "\\r"},  {'\t', "\\t"}};
    if (const auto found = shorts.find(c); found != shorts.end()) return grammar_.literal(found->second);
    static constexpr char digits[] = "0123456789abcdef";
    return grammar_.literal(std::string("\\u00") + digits[c >> 4] + digits[c & 15]);
  }

  /// Cuts ranges into ones of equal length in UTF-8, without surrogates, whose bytes vary independently.
  void add_utf8(const CodePoints& set, std::vector<NodeId>& branches) {
    static constexpr CodePoints::Range lengths[] = {
        {0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, CodePoints::highest}};
    ByteSet ascii;
    for (const CodePoints::Range& range : set.ranges()) {
      for (char32_t c = range.first; c <= std::min<char32_t>(range.last, 0x7f); ++c) ascii.set(c);
      for (int i = 1; i < 5; ++i) {
        const char32_t first = std::max(range.first, lengths[i].first), last = std::min(range.last, lengths[i].last);
        if (first <= last) add_range(first, last, i == 1 ? 2 : i < 4 ? 3 : 4, branches);
      }
    }
    if (ascii.any()) branches.push_back(grammar_.bytes(ascii));
  }
  void add_range(char32_t first, char32_t last, int length, std::vector<NodeId>& branches) {
    for (int i = 1; i < length; ++i) {
      const char32_t low_bits = (char32_t{1} << 6 * i) - 1;
      if ((first & ~low_bits) == (last & ~low_bits)) break;
      if ((first & low_bits) != 0) {
        add_range(first, first | low_bits, length, branches);
        return add_range((first | low_bits) + 1, last, length, branches);
      }
      if ((last & low_bits) != low_bits) {
        add_range(first, (last & ~low_bits) - 1, length, branches);
        return add_range(last & ~low_bits, last, length, branches);
      }
    }
    std::vector<NodeId> bytes;
    for (int i = length - 1; i >= 0; --i) {
      const auto byte = [&](char32_t c) {
        const char32_t lead = length == 2 ? 0xc0 : length == 3 ? 0xe0 : 0xf0;
        return i == length - 1 ? lead | c >> 6 * i : 0x80 | (c >> 6 * i & 0x3f);
      };
      ByteSet set;
      for (char32_t b = byte(first); b <= byte(last); ++b) set.set(b);
      bytes.push_back(grammar_.bytes(set));
    }
    branches.push_back(grammar_.sequence(std::move(bytes)));
  }

  Grammar& grammar_;
  Spelling spelling_;
  std::map<CodePoints, NodeId> known_;
};

}  // namespace lamina::grammar
