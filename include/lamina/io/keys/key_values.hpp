#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <lamina/io/json.hpp>
#include <lamina/io/keys/key.hpp>
#include <lamina/io/keys/setting.hpp>
#include <lamina/io/lower_case.hpp>
#include <lamina/io/nearest_word.hpp>

/// What the text of a setting means, by type. key: its name, for messages.
namespace lamina::io {

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
  if (!value) wrong_value(s, key, "a number");
  return *value;
}

inline double number_in(const Setting& s, std::string_view key, Range numbers) {
  const double value = number_of(s, key);
  if (!numbers.holds(value)) wrong_value(s, key, numbers.text());
  return value;
}

inline std::int64_t integer_of(const Setting& s, std::string_view key) {
  if (s.value.is_number_integer() && !(s.value.is_number_unsigned() && s.value > INT64_MAX))
    return s.value.get<std::int64_t>();
  const auto value = s.value.is_string() ? parse_number(s.value.get<std::string>()) : std::nullopt;
  if (!value || *value != std::floor(*value) || std::abs(*value) > 9e15) wrong_value(s, key, "a whole number");
  return static_cast<std::int64_t>(*value);
}

/// True or false in any spelling of YAML or of a command line; nothing for other words.
inline std::optional<bool> word_as_flag(std::string text) {
  text = lower_case(std::move(text));
  for (const char* word : {"true", "yes", "on", "1", "t", "y"})
    if (text == word) return true;
  for (const char* word : {"false", "no", "off", "0", "f", "n"})
    if (text == word) return false;
  return std::nullopt;
}

inline bool flag_of(const Setting& s, std::string_view key) {
  if (s.value.is_boolean()) return s.value.get<bool>();
  const auto flag = s.value.is_structured() ? std::nullopt : word_as_flag(shown(s.value));
  if (!flag) wrong_value(s, key, "true or false");
  return *flag;
}

inline std::string text_of(const Setting& s, std::string_view key) {
  if (s.value.is_array() || s.value.is_object()) wrong_value(s, key, "one value");
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
    for (const nlohmann::ordered_json& item : s.value) {
      if (item.is_array() || item.is_object()) wrong_value(s, key, "a list of single values");
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

/// The JSON that a setting is, or that its text holds. UsageError, with the place of the mistake, if it is none.
inline nlohmann::ordered_json json_of(const Setting& s, std::string_view key) {
  if (!s.value.is_string()) return s.value;
  const std::string subject_text = subject(s, key);
  try {
    return parse_json<nlohmann::ordered_json>(s.value.get_ref<const std::string&>(),
                                              {.subject = subject_text, .depth = 64});
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
}

/// An object, or a text that holds one as JSON.
inline nlohmann::ordered_json object_of(const Setting& s, std::string_view key, std::string_view wanted = "a mapping") {
  const bool is_json =
      !s.value.is_string() || s.value.get_ref<const std::string&>().find_first_of("{[") != std::string::npos;
  if (!is_json) wrong_value(s, key, wanted);
  auto json = json_of(s, key);
  if (!json.is_object()) wrong_value(s, key, wanted);
  return json;
}

/// read_value: fills a variable from a setting that is not null. A type of one's own gets an overload next to it.
/// show_value: the same back, as --help shows a default.
inline void read_value(const Setting& s, std::string_view key, bool& out) { out = flag_of(s, key); }
inline std::string show_value(bool value) { return value ? "true" : "false"; }

template <std::floating_point T>
void read_value(const Setting& s, std::string_view key, T& out) {
  const double value = number_of(s, key);
  out = static_cast<T>(value);
  if (!std::isfinite(out) || (out == 0) != (value == 0)) wrong_value(s, key, "a number that fp32 holds");
}
template <std::integral T>
requires(!std::same_as<T, bool>) void read_value(const Setting& s, std::string_view key, T& out) {
  const std::int64_t value = integer_of(s, key);
  if (!std::in_range<T>(value))
    wrong_value(s, key, std::is_unsigned_v<T> ? "a whole number from 0" : "a smaller number");
  out = static_cast<T>(value);
}
inline void read_value(const Setting& s, std::string_view key, std::string& out) { out = text_of(s, key); }
inline std::string show_value(const std::string& value) { return value; }

/// Without slashes at its end, so that names made of it do not depend on them. An empty flag is an error: it is what a
/// script passes whose variable is not set.
inline void read_value(const Setting& s, std::string_view key, std::filesystem::path& out) {
  std::string text = text_of(s, key);
  if (text.empty() && s.origin.empty())
    throw UsageError(cat("--", key, " '': wanted a path; is a variable of your script not set?"));
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  out = text;
}
inline std::string show_value(const std::filesystem::path& value) { return value.string(); }

template <class T>
void read_value(const Setting& s, std::string_view key, std::vector<T>& out) {
  out.clear();
  for (const std::string& item : list_of(s, key)) read_value({item, s.origin}, key, out.emplace_back());
}
template <class T>
std::string show_value(const std::vector<T>& value) {
  std::string text;
  for (const T& item : value) {
    if (!text.empty()) text += ',';
    text += show_value(item);
  }
  return text;
}

template <class T>
void read_value(const Setting& s, std::string_view key, std::optional<T>& out) {
  read_value(s, key, out.emplace());
}
template <class T>
std::string show_value(const std::optional<T>& value) {
  return value ? show_value(*value) : "";
}

namespace detail {
template <class T>
struct KeyTypeOf {
  static constexpr KeyType value = std::same_as<T, bool>    ? KeyType::flag
                                   : std::floating_point<T> ? KeyType::number
                                   : std::integral<T>       ? KeyType::integer
                                                            : KeyType::text;
};
template <class T>
struct KeyTypeOf<std::optional<T>> : KeyTypeOf<T> {};
template <class T>
struct KeyTypeOf<std::vector<T>> {
  static constexpr KeyType value = KeyType::list;
};
}  // namespace detail

}  // namespace lamina::io
