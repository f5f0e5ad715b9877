#pragma once
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/io/json.hpp>
#include <lamina/train/arguments/key.hpp>
#include <lamina/train/arguments/settings.hpp>

namespace lamina::train::detail {

using Json = nlohmann::ordered_json;

inline std::string shown(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

[[noreturn]] inline void wrong_type(const Setting& setting, std::string_view key, std::string_view wanted) {
  fail(setting.origin, ": ", key, " is ", shown(setting.value), ", wanted ", wanted);
}

/// A number as Python reads it: 8, -1, 1e-4, 1.0e-4, 1_000; nothing behind it. Not 010, which is eight in YAML 1.1.
inline std::optional<double> parse_number(std::string text) {
  std::erase(text, '_');
  const char* first = text.data() + (text.size() > 1 && text[0] == '+');
  const std::size_t sign = text.find_first_not_of("+-");
  const bool octal =
      sign + 1 < text.size() && text[sign] == '0' && text.find_first_not_of("01234567", sign) == text.npos;
  if (sign == text.npos || octal) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(first, text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

inline double number_of(const Setting& s, std::string_view key) {
  if (s.value.is_number()) return s.value.get<double>();
  const auto value = s.value.is_string() ? parse_number(s.value.get<std::string>()) : std::nullopt;
  if (!value) wrong_type(s, key, "a number");
  return *value;
}

inline std::int64_t integer_of(const Setting& s, std::string_view key) {
  if (s.value.is_number_integer()) return s.value.get<std::int64_t>();
  const auto value = s.value.is_string() ? parse_number(s.value.get<std::string>()) : std::nullopt;
  if (!value || *value != std::floor(*value) || std::abs(*value) > 9e15) wrong_type(s, key, "a whole number");
  return static_cast<std::int64_t>(*value);
}

/// True or false in any spelling of YAML or of a command line; nothing for other words.
inline std::optional<bool> word_as_flag(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* word : {"true", "yes", "on", "1", "t", "y"})
    if (text == word) return true;
  for (const char* word : {"false", "no", "off", "0", "f", "n"})
    if (text == word) return false;
  return std::nullopt;
}

inline bool flag_of(const Setting& s, std::string_view key) {
  if (s.value.is_boolean()) return s.value.get<bool>();
  const auto flag = s.value.is_structured() ? std::nullopt : word_as_flag(shown(s.value));
  if (!flag) wrong_type(s, key, "true or false");
  return *flag;
}

inline std::string text_of(const Setting& s, std::string_view key) {
  if (s.value.is_array() || s.value.is_object()) wrong_type(s, key, "one value");
  return shown(s.value);
}

/// A comma-separated string or a list; spaces around items go, empty items too.
inline std::vector<std::string> list_of(const Setting& s, std::string_view key) {
  std::vector<std::string> items;
  const auto add = [&](std::string_view item) {
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
    if (!item.empty()) items.emplace_back(item);
  };
  if (s.value.is_array()) {
    for (const Json& item : s.value) {
      if (item.is_array() || item.is_object()) wrong_type(s, key, "a list of single values");
      add(shown(item));
    }
    return items;
  }
  const std::string text = text_of(s, key);
  for (std::size_t first = 0; first <= text.size();) {
    const std::size_t comma = std::min(text.find(',', first), text.size());
    add(std::string_view(text).substr(first, comma - first));
    first = comma + 1;
  }
  return items;
}

/// An object, or a string that holds one as JSON.
inline Json object_of(const Setting& s, std::string_view key) {
  if (s.value.is_object()) return s.value;
  if (s.value.is_string()) {
    const Json parsed = checkpoint::try_parse_json<Json>(s.value.get<std::string>());
    if (parsed.is_object()) return parsed;
  }
  wrong_type(s, key, "a mapping, such as {min_lr_rate: 0.1}");
}

/// True if the setting asks for nothing: it is the key's default, however it is spelt.
inline bool is_inert(const Key& key, const Setting& s) {
  if (s.value.is_null() || (s.value.is_structured() && s.value.empty())) return true;
  const std::string text = shown(s.value);
  switch (key.type) {
    case KeyType::flag:
      return !key.inert.empty() && flag_of(s, key.name) == (key.inert == "true");
    case KeyType::number:
    case KeyType::integer:
      return !key.inert.empty() && number_of(s, key.name) == parse_number(std::string(key.inert));
    case KeyType::list: {
      const auto items = list_of(s, key.name);
      return items.empty() || (items.size() == 1 && items[0] == key.inert);
    }
    default:
      return text.empty() || text == key.inert;
  }
}

/// Throws where the value cannot be of the key's type.
inline void check_type(const Key& key, const Setting& s) {
  if (s.value.is_null()) return;
  switch (key.type) {
    case KeyType::flag:
      flag_of(s, key.name);
      break;
    case KeyType::number:
      number_of(s, key.name);
      break;
    case KeyType::integer:
      integer_of(s, key.name);
      break;
    case KeyType::text:
      text_of(s, key.name);
      break;
    case KeyType::list:
      list_of(s, key.name);
      break;
    case KeyType::object:
      break;  // a mapping or the path of a file
  }
}

}  // namespace lamina::train::detail
