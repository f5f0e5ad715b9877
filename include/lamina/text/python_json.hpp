#pragma once
#include <lamina/text/tokenizer/unicode.hpp>

#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

namespace lamina::text {
namespace detail {

inline void append_json_string(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  out += '"';
  for (const char c : io::is_valid_utf8(text) ? std::string(text) : io::replace_invalid_utf8(text)) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += digits[c >> 4];
          out += digits[c & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

/// As Python's repr: the shortest digits that read back, plain from 1e-4 up to below 1e16, else with an exponent.
inline void append_json_float(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
    return;
  }
  if (std::isinf(value)) {
    out += value < 0 ? "-Infinity" : "Infinity";
    return;
  }
  const double size = std::abs(value);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e16);
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value,
                                 plain ? std::chars_format::fixed : std::chars_format::scientific);
  const std::string_view text(buffer, end.ptr - buffer);
  out += text;
  if (plain && text.find('.') == text.npos) out += ".0";
}

inline void append_json(std::string& out, const nlohmann::ordered_json& value, int depth = 0) {
  // Each level is a call, and requests come from strangers. Python's own limit is near 1000.
  if (depth > 500) fail("JSON: nested more than 500 levels deep");
  if (value.is_object() || value.is_array()) {
    out += value.is_object() ? '{' : '[';
    std::string_view separator;
    for (const auto& [key, item] : value.items()) {
      out += separator;
      separator = ", ";
      if (value.is_object()) {
        append_json_string(out, key);
        out += ": ";
      }
      append_json(out, item, depth + 1);
    }
    out += value.is_object() ? '}' : ']';
  } else if (value.is_string()) {
    append_json_string(out, value.get_ref<const std::string&>());
  } else if (value.is_number_float()) {
    append_json_float(out, value.get<double>());
  } else {
    out += value.dump();  // null, true, false, integers
  }
}

}  // namespace detail

/// The text that Python's json.dumps(value, ensure_ascii=False) writes, which is what `tojson` is in chat templates:
/// ", " and ": " between items, keys in their order, non-ASCII kept, numbers as Python prints them.
inline std::string python_json(const nlohmann::ordered_json& value) {
  std::string out;
  detail::append_json(out, value);
  return out;
}

}  // namespace lamina::text
