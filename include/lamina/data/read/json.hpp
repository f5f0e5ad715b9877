#pragma once
#include <lamina/core/error.hpp>
#include <lamina/text/tokenizer/unicode.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace lamina::data {

/// What a reader of JSON takes beyond the standard. All of them take NaN, Infinity and -Infinity.
struct JsonRules {
  bool control_characters = false;  ///< raw ones in strings, except NUL
  bool duplicate_keys = false;      ///< the last one counts
  bool lone_surrogates = false;     ///< half of a \ud83d\ude00 pair; it is left out
  bool nan_is_null = false;
};

/// How the `datasets` library reads JSON lines (by Arrow) and a JSON list (by pandas), and how Python reads JSON text.
inline constexpr JsonRules json_lines_rules{};
inline constexpr JsonRules json_list_rules{true, true, true, true};
inline constexpr JsonRules json_text_rules{.duplicate_keys = true, .lone_surrogates = true};

/// Members of an object, in their order and with different keys.
using JsonMembers = std::vector<std::pair<std::string, nlohmann::ordered_json>>;

/// The object of these members. An ordered object is a vector of pairs: its own insertion searches all members, and a
/// growing vector of pairs with constant keys copies all values. So they come all at once.
inline nlohmann::ordered_json json_object(JsonMembers members) {
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  nlohmann::ordered_json::object_t::Container& object = out.get_ref<nlohmann::ordered_json::object_t&>();
  object.reserve(members.size());
  for (auto& [key, item] : members) object.emplace_back(std::move(key), std::move(item));
  return out;
}

/// Reads JSON values one after another out of a text, in time linear in the text. (nlohmann's own parser knows no NaN
/// and no raw control characters, and reads one value per text.)
class JsonReader {
 public:
  using Json = nlohmann::ordered_json;

  JsonReader(std::string_view text, JsonRules rules) : text_(text), rules_(rules) {}

  /// The next value. Fails with line and column of the mistake, and beyond the bounds of a record.
  Json value() {
    begin_ = at_, values_ = 0;
    return value(0);
  }

  /// Passes over spaces and newlines; false at the end of the text.
  bool more() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    return at_ < text_.size();
  }
  /// Passes over spaces and newlines, and over `sign` if it comes next.
  bool take(char sign) {
    const bool found = more() && text_[at_] == sign;
    at_ += found;
    return found;
  }

  std::size_t at() const { return at_; }
  void seek(std::size_t at) { at_ = at; }

  /// The line of a place in the text, from 1. Places are asked for in rising order mostly: only the text between is
  /// counted.
  std::int64_t line_of(std::size_t at) {
    if (at < counted_) counted_ = 0, line_ = 1;
    line_ += std::count(text_.begin() + static_cast<std::ptrdiff_t>(counted_),
                        text_.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    counted_ = at;
    return line_;
  }

  [[noreturn]] void wrong(std::string_view wanted) {
    const std::size_t begin = at_ == 0 ? 0 : text_.rfind('\n', at_ - 1) + 1;
    fail("line ", line_of(at_), ", column ", at_ - begin + 1, ": ", found(), ", wanted ", wanted);
  }

 private:
  static constexpr int deepest = 500;  // as text::python_json, which writes such values again
  static constexpr std::size_t most_bytes = 256 << 20, most_values = 1 << 22;  // of one record
  static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  char here() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  std::string found() const {
    if (at_ >= text_.size()) return "the text ends";
    const auto byte = static_cast<unsigned char>(text_[at_]);
    if (byte < 0x20) return cat("found the control character ", static_cast<int>(byte));
    return byte < 0x7f ? cat("found ", text_[at_]) : "found a letter beyond ASCII";
  }

  Json value(int depth) {
    if (!more()) wrong("a value");
    if (depth > deepest) fail("line ", line_of(at_), ": nested more than ", deepest, " levels deep");
    if (++values_ > most_values) fail("line ", line_of(at_), ": a record of more than ", most_values, " values");
    switch (text_[at_]) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      default:
        return word();
    }
  }

  /// Where in an object a key is: keys are compared one by one while they are few, and by hash beyond.
  class Places {
   public:
    /// The number of members if the key is new.
    std::size_t of(const std::string& key, const JsonMembers& members) {
      if (members.size() < 16) {
        const auto same = [&](const auto& member) { return member.first == key; };
        return static_cast<std::size_t>(std::find_if(members.begin(), members.end(), same) - members.begin());
      }
      if (places_.empty())
        for (std::size_t i = 0; i < members.size(); ++i) places_.emplace(members[i].first, i);
      return places_.emplace(key, members.size()).first->second;
    }

   private:
    std::unordered_map<std::string, std::size_t> places_;
  };

  Json object(int depth) {
    JsonMembers members;
    Places places;
    ++at_;
    if (take('}')) return Json::object();
    do {
      if (!more() || text_[at_] != '"') wrong("a key in quotes");
      const std::size_t key_at = at_;
      std::string key = string();
      const std::size_t place = places.of(key, members);
      if (place < members.size() && !rules_.duplicate_keys) {
        at_ = key_at;
        wrong(cat("each key once, not \"", key, "\" again"));
      }
      if (!take(':')) wrong(cat("a colon after \"", key, "\""));
      Json item = value(depth + 1);
      if (place < members.size()) {
        members[place].second = std::move(item);
      } else {
        members.emplace_back(std::move(key), std::move(item));
      }
    } while (take(','));
    if (!take('}')) wrong("a comma or }");
    return json_object(std::move(members));
  }

  Json array(int depth) {
    Json out = Json::array();
    ++at_;
    if (take(']')) return out;
    do out.push_back(value(depth + 1));
    while (take(','));
    if (!take(']')) wrong("a comma or ]");
    return out;
  }

  std::string string() {
    const std::size_t begin = at_++;
    std::string out;
    for (;;) {
      const std::size_t from = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' &&
             (static_cast<unsigned char>(text_[at_]) >= 0x20 || (rules_.control_characters && text_[at_] != '\0')))
        ++at_;
      if (at_ - begin_ > most_bytes) fail("line ", line_of(at_), ": a record of more than ", most_bytes, " bytes");
      out += text_.substr(from, at_ - from);
      if (at_ >= text_.size()) wrong("a closing quote");
      if (text_[at_] == '"') break;
      if (text_[at_] != '\\') wrong("its escape, such as \\n");
      escape(out);
    }
    ++at_;
    if (!io::is_valid_utf8(out)) {
      at_ = begin;
      wrong("text in UTF-8, this string is not");
    }
    return out;
  }

  void escape(std::string& out) {
    static constexpr std::string_view signs = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
    ++at_;
    if (here() == 'u') return escaped_code(out);
    const std::size_t which = at_ < text_.size() ? signs.find(text_[at_]) : signs.npos;
    if (which == signs.npos) wrong("one of \" \\ / b f n r t u after a backslash");
    out += meant[which];
    ++at_;
  }

  /// \uXXXX, or two of them that make one letter beyond U+FFFF.
  void escaped_code(std::string& out) {
    std::uint32_t code = hex_unit();
    if (code >= 0xd800 && code < 0xdc00 && text_.substr(at_, 2) == "\\u") {
      const std::size_t second_at = at_++;
      const std::uint32_t second = hex_unit();
      if (second >= 0xdc00 && second < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
      } else {
        at_ = second_at;
      }
    }
    if (code < 0xd800 || code >= 0xe000) return io::append_utf8(out, static_cast<char32_t>(code));
    if (!rules_.lone_surrogates) wrong("the other half of a surrogate pair before it");
  }

  std::uint32_t hex_unit() {
    ++at_;  // the u
    std::uint32_t code = 0;
    const char* end = text_.data() + std::min(at_ + 4, text_.size());
    if (std::from_chars(text_.data() + at_, end, code, 16).ptr != text_.data() + at_ + 4) wrong("four hex digits");
    at_ += 4;
    return code;
  }

  Json word() {
    for (const auto& [name, json] :
         {std::pair<std::string_view, Json>{"null", nullptr}, {"true", true}, {"false", false}}) {
      if (text_.substr(at_, name.size()) != name) continue;
      at_ += name.size();
      return json;
    }
    return number();
  }

  Json number() {
    const std::size_t begin = at_;
    const bool negative = here() == '-';
    at_ += negative;
    for (const std::string_view name : {"NaN", "Infinity"}) {
      if (text_.substr(at_, name.size()) != name) continue;
      at_ += name.size();
      if (name == "NaN" && rules_.nan_is_null) return nullptr;
      const double value =
          name == "NaN" ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
      return negative ? -value : value;
    }
    const std::size_t digits_at = at_;
    digits("a value");
    if (text_[digits_at] == '0' && at_ > digits_at + 1) {
      at_ = digits_at;
      wrong("a number without a 0 in front");
    }
    bool whole = true;
    if (here() == '.') whole = false, ++at_, digits("a digit");
    if (here() == 'e' || here() == 'E') {
      whole = false, ++at_;
      if (here() == '+' || here() == '-') ++at_;
      digits("a digit");
    }
    const char *from = text_.data() + begin, *to = text_.data() + at_;
    std::int64_t integer = 0;
    if (whole && std::from_chars(from, to, integer).ec == std::errc()) return integer;
    double real = 0;
    if (std::from_chars(from, to, real).ec != std::errc()) real = std::strtod(std::string(from, to).c_str(), nullptr);
    return real;
  }

  void digits(std::string_view wanted) {
    if (!is_digit(here())) wrong(wanted);
    while (is_digit(here())) ++at_;
  }

  std::string_view text_;
  JsonRules rules_;
  std::size_t at_ = 0, counted_ = 0;
  std::size_t begin_ = 0, values_ = 0;  // of the record that is read
  std::int64_t line_ = 1;
};

/// The one value of a text; fails if more follows.
inline nlohmann::ordered_json read_json_text(std::string_view text, JsonRules rules = json_text_rules) {
  JsonReader reader(text, rules);
  nlohmann::ordered_json value = reader.value();
  if (reader.more()) reader.wrong("nothing after the value");
  return value;
}

}  // namespace lamina::data
