#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>

namespace lamina::io {

/// Reads the fields of one JSON object. A field that is missing or null counts as absent, as for Hugging Face's readers
/// and for vLLM. Every mistake is reported by Errors, which says whose JSON it is and has
///
///     [[noreturn]] void missing(path), wrong(path, value, wanted)
///     static constexpr bool whole_floats    whether 4.0 is an integer
///     static constexpr bool lax             whether texts and truth values may stand for numbers, and numbers and
///     texts
///                                           for truth values, as pydantic takes them
template <class Json, class Errors>
class FieldReader {
 public:
  static constexpr double any_number = std::numeric_limits<double>::max();

  /// Borrows object. path: the place of the object inside the document, such as "text_config"; "" at the top.
  FieldReader(const Json& object, Errors errors, std::string path = "")
      : object_(&object), errors_(std::move(errors)), path_(std::move(path)) {
    if (!object.is_object()) errors_.no_object(path_, object);
  }
  explicit FieldReader(const Json& object, std::string path = "") requires std::default_initializable<Errors>
      : FieldReader(object, Errors{}, std::move(path)) {}

  const Json& json() const { return *object_; }
  const std::string& file() const { return errors_.file; }
  /// "text_config.hidden_size"
  std::string path(const std::string& key) const { return path_.empty() ? key : path_ + "." + key; }

  /// The value, or null if it is absent.
  const Json* find(const std::string& key) const {
    const auto at = object_->find(key);
    return at == object_->end() || at->is_null() ? nullptr : &*at;
  }
  bool has(const std::string& key) const { return find(key) != nullptr; }
  const Json& require(const std::string& key) const {
    const Json* value = find(key);
    if (!value) errors_.missing(path(key));
    return *value;
  }
  [[noreturn]] void wrong(const std::string& key, const Json& got, std::string_view wanted) const {
    errors_.wrong(path(key), got, wanted);
  }

  /// An object inside this one, which must be there.
  FieldReader object(const std::string& key) const { return {require(key), errors_, path(key)}; }

  std::string text(const std::string& key) const { return as_text(require(key), key, "a string"); }
  std::string text(const std::string& key, const std::string& otherwise) const {
    return maybe_text(key).value_or(otherwise);
  }
  std::optional<std::string> maybe_text(const std::string& key) const {
    const Json* value = find(key);
    return value ? std::optional(as_text(*value, key, "a string")) : std::nullopt;
  }

  bool boolean(const std::string& key, bool otherwise = false) const {
    const Json* value = find(key);
    if (!value) return otherwise;
    const auto truth = truth_of(*value);
    if (!truth) wrong(key, *value, "true or false");
    return *truth;
  }

  int integer(const std::string& key) const { return as_int(require(key), key, "an integer"); }
  int integer(const std::string& key, int otherwise) const { return maybe_integer(key).value_or(otherwise); }
  std::optional<int> maybe_integer(const std::string& key) const {
    return has(key) ? std::optional(integer(key)) : std::nullopt;
  }
  std::optional<std::int64_t> maybe_integer(const std::string& key, std::int64_t least, std::int64_t most) const {
    const Json* value = find(key);
    if (!value) return std::nullopt;
    const auto number = whole(*value);
    if (!number || *number < least || *number > most) wrong(key, *value, range("an integer", least, most));
    return number;
  }
  /// An integer of a wider type, such as a count of tokens or a seed.
  template <std::integral T>
  T whole_number(const std::string& key) const {
    const Json& value = require(key);
    if (value.is_number_unsigned()) {
      if (const auto n = value.template get<std::uint64_t>(); std::in_range<T>(n)) return static_cast<T>(n);
    } else if (const auto n = whole(value); n && std::in_range<T>(*n)) {
      return static_cast<T>(*n);
    }
    wrong(key, value, std::is_unsigned_v<T> ? "an integer from 0" : "an integer");
  }
  template <std::integral T>
  T whole_number(const std::string& key, T otherwise) const {
    return has(key) ? whole_number<T>(key) : otherwise;
  }
  /// An integer that must be positive, such as a size.
  int size(const std::string& key) const {
    const int n = integer(key);
    if (n <= 0) wrong(key, (*object_)[key], "a positive integer");
    return n;
  }
  int size(const std::string& key, int otherwise) const { return has(key) ? size(key) : otherwise; }

  double number(const std::string& key) const { return as_number(require(key), key, -any_number, any_number); }
  double number(const std::string& key, double otherwise) const { return maybe_number(key).value_or(otherwise); }
  std::optional<double> maybe_number(const std::string& key, double least = -any_number,
                                     double most = any_number) const {
    const Json* value = find(key);
    return value ? std::optional(as_number(*value, key, least, most)) : std::nullopt;
  }
  /// For walks over all members: `value` is the one of this name.
  double as_number(const Json& value, const std::string& key, double least, double most) const {
    const double x = number_of(value).value_or(std::numeric_limits<double>::quiet_NaN());
    const bool bounded = least > -any_number || most < any_number;
    if (!(x >= least && x <= most)) wrong(key, value, bounded ? range("a number", least, most) : "a number");
    return x;
  }

  const Json* maybe_list(const std::string& key) const {
    const Json* value = find(key);
    if (value && !value->is_array()) wrong(key, *value, "a list");
    return value;
  }
  std::vector<int> integers(const std::string& key) const {
    return list<int>(key, "a list of integers", [&](const Json& item) { return as_int(item, key, "an integer"); });
  }
  /// One integer, or a list of them; none if the field is absent.
  std::vector<int> integer_or_list(const std::string& key) const {
    if (!has(key)) return {};
    return (*object_)[key].is_array() ? integers(key) : std::vector{integer(key)};
  }
  std::vector<std::string> texts(const std::string& key) const {
    constexpr std::string_view wanted = "a list of strings";
    return list<std::string>(key, wanted, [&](const Json& item) {
      if (!item.is_string()) wrong(key, (*object_)[key], wanted);
      return item.template get<std::string>();
    });
  }

 private:
  template <class Item, class Read>
  std::vector<Item> list(const std::string& key, std::string_view wanted, const Read& read) const {
    const Json& value = require(key);
    if (!value.is_array()) wrong(key, value, wanted);
    std::vector<Item> items;
    for (const Json& item : value) items.push_back(read(item));
    return items;
  }
  template <class Number>
  static std::string range(const char* what, Number least, Number most) {
    if (std::is_floating_point_v<Number> && least == std::numeric_limits<Number>::min())  // of double, the next to 0
      return cat(what, " above 0 up to ", most);
    return cat(what, " in [", least, ", ", most, "]");
  }
  std::string as_text(const Json& value, const std::string& key, std::string_view wanted) const {
    if (!value.is_string()) wrong(key, value, wanted);
    return value.template get<std::string>();
  }
  int as_int(const Json& value, const std::string& key, std::string_view wanted) const {
    const auto number = whole(value);
    if (!number || !std::in_range<int>(*number)) wrong(key, value, wanted);
    return static_cast<int>(*number);
  }
  /// A text without the blanks around it.
  static std::string_view trimmed(const Json& value) {
    std::string_view text = value.template get_ref<const std::string&>();
    text.remove_prefix(std::min(text.find_first_not_of(" \t\n\r"), text.size()));
    return text.substr(0, text.find_last_not_of(" \t\n\r") + 1);
  }
  template <class Number>
  static std::optional<Number> parsed(std::string_view text) {
    Number number{};
    if (text.starts_with('+')) text.remove_prefix(1);
    const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool all = end.ec == std::errc() && end.ptr == text.data() + text.size();
    return all ? std::optional(number) : std::nullopt;
  }
  static std::optional<double> number_of(const Json& value) {
    if (value.is_number()) return value.template get<double>();
    if (!Errors::lax) return std::nullopt;
    if (value.is_boolean()) return value.template get<bool>() ? 1 : 0;
    return value.is_string() ? parsed<double>(trimmed(value)) : std::nullopt;
  }
  static std::optional<bool> truth_of(const Json& value) {
    if (value.is_boolean()) return value.template get<bool>();
    if (!Errors::lax) return std::nullopt;
    if (value.is_number()) {
      const double x = value.template get<double>();
      return x == 0 || x == 1 ? std::optional(x == 1) : std::nullopt;
    }
    if (!value.is_string()) return std::nullopt;
    std::string word(value.template get_ref<const std::string&>());
    std::transform(word.begin(), word.end(), word.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    for (const char* yes : {"true", "t", "yes", "y", "on", "1"})
      if (word == yes) return true;
    for (const char* no : {"false", "f", "no", "n", "off", "0"})
      if (word == no) return false;
    return std::nullopt;
  }
  /// The value as an integer; none if it is no number, has a fraction, or is too large.
  static std::optional<std::int64_t> whole(const Json& value) {
    if (Errors::lax && value.is_boolean()) return value.template get<bool>() ? 1 : 0;
    if (Errors::lax && value.is_string()) {
      if (const auto number = parsed<std::int64_t>(trimmed(value))) return number;
      const auto number = parsed<double>(trimmed(value));
      return number && std::trunc(*number) == *number && std::abs(*number) < 0x1p53
                 ? std::optional(static_cast<std::int64_t>(*number))
                 : std::nullopt;
    }
    if (value.is_number_float()) {
      const double x = value.template get<double>();
      if (!Errors::whole_floats || std::trunc(x) != x || !(std::abs(x) < 0x1p53)) return std::nullopt;
    } else if (!value.is_number_integer()) {
      return std::nullopt;
    }
    if (value.is_number_unsigned() && !std::in_range<std::int64_t>(value.template get<std::uint64_t>()))
      return std::nullopt;
    return value.template get<std::int64_t>();
  }

  const Json* object_;
  Errors errors_;
  std::string path_;
};

/// Mistakes in a file that users edit: an Error that names the file, the field, its value and what was wanted.
struct FileErrors {
  static constexpr bool whole_floats = false, lax = false;
  std::string file;

  FileErrors(std::string file) : file(std::move(file)) {}
  FileErrors(const char* file) : file(file) {}

  [[noreturn]] void no_object(const std::string& path, const nlohmann::json& got) const {
    fail(file, path.empty() ? "" : ": " + path, ": got ", got.type_name(), ", wanted an object");
  }
  [[noreturn]] void missing(const std::string& path) const { fail(file, ": ", path, " is missing"); }
  [[noreturn]] void wrong(const std::string& path, const nlohmann::json& got, std::string_view wanted) const {
    std::string shown = got.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    if (shown.size() > 80) shown = shown.substr(0, 77) + "...";
    fail(file, ": ", path, " is ", shown, ", wanted ", wanted);
  }
};

/// The fields of an object in a JSON file: JsonFields(json, path of the file, place in it).
using JsonFields = FieldReader<nlohmann::json, FileErrors>;

}  // namespace lamina::io
