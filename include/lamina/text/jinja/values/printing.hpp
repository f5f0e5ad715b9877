#pragma once
#include <lamina/text/jinja/budget.hpp>
#include <lamina/text/jinja/values/value.hpp>
#include <lamina/text/python_json.hpp>
#include <lamina/text/tokenizer/unicode.hpp>

#include <utf8proc.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

/// Python's str(), repr() and json.dumps() of values.
namespace lamina::text::jinja {
namespace detail {

inline std::string printed_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string out;
  text::detail::append_json_float(out, value);
  return out;
}

inline void append_escape(std::string& out, char32_t c) {
  static constexpr char digits[] = "0123456789abcdef";
  const int width = c < 0x100 ? 2 : c < 0x10000 ? 4 : 8;
  out += width == 2 ? "\\x" : width == 4 ? "\\u" : "\\U";
  for (int shift = 4 * (width - 1); shift >= 0; shift -= 4) out += digits[c >> shift & 15];
}

/// repr() of a string: in single quotes, unless it holds one and no double quote.
inline void append_repr(std::string& out, std::string_view text) {
  const bool double_quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = double_quotes ? '"' : '\'';
  out += quote;
  for (std::size_t at = 0; at < text.size();) {
    const io::Utf8Step step = io::read_utf8(text, at);
    const std::string_view bytes = text.substr(at, static_cast<std::size_t>(step.size));
    at += bytes.size();
    const char32_t c = step.value;
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    const bool printable = c == ' ' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_SO);
    if (c == static_cast<unsigned char>(quote) || c == '\\')
      out += '\\', out += static_cast<char>(c);
    else if (c == '\n' || c == '\r' || c == '\t')
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    else if (printable)
      out += bytes;
    else
      append_escape(out, c);
  }
  out += quote;
}

/// Writes values as text, and remembers whether the inputs wrote a part of it.
class Printer {
 public:
  explicit Printer(Budget& budget) : budget_(budget) {}

  void repr(const Value& value) {
    budget_.take();
    if (const auto* text = value.text()) {
      append_repr(out_, text->bytes());
      from_input_ = from_input_ || text->any_input();
    } else if (const auto* list = value.sequence()) {
      sequence(*list);
    } else if (const auto* entries = value.dict()) {
      dict(*entries);
    } else {
      scalar(value);
    }
    budget_.take_text(out_.size() - std::exchange(counted_, out_.size()));
  }

  AuthoredText finish() { return {std::move(out_), from_input_}; }

 private:
  void scalar(const Value& value) {
    if (value.is_none())
      out_ += "None";
    else if (const auto* flag = value.as<bool>())
      out_ += *flag ? "True" : "False";
    else if (const auto* whole = value.as<std::int64_t>())
      out_ += std::to_string(*whole);
    else if (const auto* large = value.as<LargeInteger>())
      out_ += std::to_string(large->value);
    else if (const auto* number = value.as<double>())
      out_ += printed_float(*number);
    else if (!value.is_undefined())
      fail("a ", value.type_name(), " cannot be written as text");
    else
      out_ += "Undefined";
  }
  void sequence(const ValueSequence& list) {
    const bool tuple = list.kind == ValueSequence::Kind::tuple;
    if (!tuple && list.kind != ValueSequence::Kind::list)
      fail("a ", kind_name(list), " cannot be written as text: make it a list with the filter list");
    out_ += tuple ? '(' : '[';
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_ += ", ";
      repr(list.items[i]);
    }
    if (tuple && list.items.size() == 1) out_ += ',';
    out_ += tuple ? ')' : ']';
  }
  void dict(const Dict& entries) {
    out_ += '{';
    std::string_view separator;
    for (const auto& [key, value] : entries.entries) {
      out_ += separator;
      separator = ", ";
      repr(key);
      out_ += ": ";
      repr(value);
    }
    out_ += '}';
  }
  static const char* kind_name(const ValueSequence& list) {
    return list.kind == ValueSequence::Kind::range  ? "range"
           : list.kind == ValueSequence::Kind::view ? "dict view"
                                                    : "generator";
  }

  Budget& budget_;
  std::string out_;
  std::size_t counted_ = 0;
  bool from_input_ = false;
};

}  // namespace detail

/// Python's str(); an undefined value is "".
inline AuthoredText to_text(const Value& value, Budget& budget) {
  if (const auto* text = value.text()) return *text;
  if (value.is_undefined()) return {};
  detail::Printer printer(budget);
  printer.repr(value);
  return printer.finish();
}

/// The settings of `tojson`, as transformers has it.
struct JsonStyle {
  bool ensure_ascii = false, sort_keys = false;
  std::optional<std::string> indent = {};  ///< of one level; none: everything on one line
  std::string between_items = ", ", between_key_and_value = ": ";
};

namespace detail {

/// json.dumps(). A text that the inputs wrote makes all of it theirs.
class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  void write(const Value& value, int level = 0) {
    budget_.take();
    if (const auto* text = value.text()) {
      string(*text);
    } else if (const auto* list = value.sequence();
               list && (list->kind == ValueSequence::Kind::list || list->kind == ValueSequence::Kind::tuple)) {
      block('[', ']', list->items.size(), level, [&](std::size_t i) { write(list->items[i], level + 1); });
    } else if (const auto* entries = value.dict()) {
      dict(*entries, level);
    } else {
      out_ += scalar(value);
    }
    budget_.take_text(out_.size() - std::exchange(counted_, out_.size()));
  }

  AuthoredText finish() { return {std::move(out_), from_input_}; }

 private:
  static std::string scalar(const Value& value) {
    if (value.is_none()) return "null";
    if (const auto* flag = value.as<bool>()) return *flag ? "true" : "false";
    if (const auto* whole = value.as<std::int64_t>()) return std::to_string(*whole);
    if (const auto* large = value.as<LargeInteger>()) return std::to_string(large->value);
    const auto* number = value.as<double>();
    if (!number) fail("tojson: a ", value.type_name(), " is nothing that JSON has");
    std::string out;
    text::detail::append_json_float(out, *number);
    return out;
  }

  template <class F>
  void block(char open, char close, std::size_t count, int level, const F& item) {
    out_ += open;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out_ += style_.between_items;
      line(level + 1);
      item(i);
    }
    if (count > 0) line(level);
    out_ += close;
  }
  void line(int level) {
    if (!style_.indent) return;
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += *style_.indent;
  }

  void dict(const Dict& entries, int level) {
    std::vector<const std::pair<Value, Value>*> order;
    for (const auto& entry : entries.entries) order.push_back(&entry);
    if (style_.sort_keys) std::stable_sort(order.begin(), order.end(), before);
    block('{', '}', order.size(), level, [&](std::size_t i) {
      if (const auto* key = order[i]->first.text())
        string(*key);
      else
        out_ += '"' + scalar(order[i]->first) + '"';
      out_ += style_.between_key_and_value;
      write(order[i]->second, level + 1);
    });
  }
  static bool before(const std::pair<Value, Value>* a, const std::pair<Value, Value>* b) {
    const auto *left = a->first.text(), *right = b->first.text();
    if (left && right) return left->bytes() < right->bytes();
    if (left || right || !a->first.number() || !b->first.number()) fail("tojson: the keys have no order");
    return *a->first.number() < *b->first.number();
  }

  void string(const AuthoredText& text) {
    from_input_ = from_input_ || text.any_input();
    const std::size_t begin = out_.size();
    text::detail::append_json_string(out_, text.bytes());
    if (!style_.ensure_ascii) return;
    const std::string utf8 = out_.substr(begin);
    out_.resize(begin);
    for (std::size_t at = 0; at < utf8.size();) {
      const io::Utf8Step step = io::read_utf8(utf8, at);
      at += static_cast<std::size_t>(step.size);
      ascii(step.value);
    }
  }
  void ascii(char32_t c) {
    if (c < 0x7f) {
      out_ += static_cast<char>(c);
    } else if (c < 0x100) {
      out_ += "\\u00";
      std::string escape;
      append_escape(escape, c);
      out_ += escape.substr(2);
    } else if (c < 0x10000) {
      append_escape(out_, c);
    } else {
      append_escape(out_, 0xd800 + ((c - 0x10000) >> 10));
      append_escape(out_, 0xdc00 + ((c - 0x10000) & 0x3ff));
    }
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string out_;
  std::size_t counted_ = 0;
  bool from_input_ = false;
};

}  // namespace detail

inline AuthoredText to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  detail::JsonWriter writer(style, budget);
  writer.write(value);
  return writer.finish();
}

}  // namespace lamina::text::jinja
