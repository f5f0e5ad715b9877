#pragma once
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include <lamina/core/error.hpp>

namespace lamina::checkpoint {

/// The fields of a JSON object in a file that users edit: each mistake is an Error that names the file, the field,
/// what it is and what was wanted. null counts as absent, as Hugging Face's readers have it.
class JsonFields {
 public:
  /// Borrows json. where: the path of the object inside the file, such as "text_config".
  JsonFields(const nlohmann::json& json, std::string file, std::string where = "")
      : json_(json), file_(std::move(file)), where_(std::move(where)) {
    if (!json.is_object())
      fail(file_, where_.empty() ? "" : ": " + where_, ": got ", json.type_name(), ", wanted an object");
  }

  const std::string& file() const { return file_; }
  const nlohmann::json& json() const { return json_; }
  bool has(const std::string& key) const { return json_.contains(key) && !json_[key].is_null(); }

  /// An object inside this one; Error where it is absent.
  JsonFields object(const std::string& key) const { return {require(key), file_, path(key)}; }

  int integer(const std::string& key) const { return as_integer(require(key), key); }
  int integer(const std::string& key, int otherwise) const { return has(key) ? integer(key) : otherwise; }
  /// An integer that must be positive, such as a size.
  int size(const std::string& key) const {
    const int n = integer(key);
    if (n <= 0) wrong(key, json_[key], "a positive integer");
    return n;
  }
  int size(const std::string& key, int otherwise) const { return has(key) ? size(key) : otherwise; }
  double number(const std::string& key) const {
    const auto& value = require(key);
    if (!value.is_number() || !std::isfinite(value.get<double>())) wrong(key, value, "a number");
    return value.get<double>();
  }
  double number(const std::string& key, double otherwise) const { return has(key) ? number(key) : otherwise; }
  bool boolean(const std::string& key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!json_[key].is_boolean()) wrong(key, json_[key], "true or false");
    return json_[key].get<bool>();
  }
  std::string text(const std::string& key) const {
    const auto& value = require(key);
    if (!value.is_string()) wrong(key, value, "a string");
    return value.get<std::string>();
  }
  std::string text(const std::string& key, const std::string& otherwise) const {
    return has(key) ? text(key) : otherwise;
  }
  std::vector<int> integers(const std::string& key) const {
    const auto& value = require(key);
    if (!value.is_array()) wrong(key, value, "a list of integers");
    std::vector<int> list;
    for (const auto& item : value) list.push_back(as_integer(item, key));
    return list;
  }
  std::vector<std::string> texts(const std::string& key) const {
    const auto& value = require(key);
    if (!value.is_array()) wrong(key, value, "a list of strings");
    std::vector<std::string> list;
    for (const auto& item : value) {
      if (!item.is_string()) wrong(key, value, "a list of strings");
      list.push_back(item.get<std::string>());
    }
    return list;
  }
  std::optional<int> maybe_integer(const std::string& key) const {
    return has(key) ? std::optional(integer(key)) : std::nullopt;
  }
  std::optional<double> maybe_number(const std::string& key) const {
    return has(key) ? std::optional(number(key)) : std::nullopt;
  }

  /// "text_config.hidden_size"
  std::string path(const std::string& key) const { return where_.empty() ? key : where_ + "." + key; }
  [[noreturn]] void wrong(const std::string& key, const nlohmann::json& got, std::string_view wanted) const {
    std::string shown = got.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    if (shown.size() > 80) shown = shown.substr(0, 77) + "...";
    fail(file_, ": ", path(key), " is ", shown, ", wanted ", wanted);
  }

 private:
  const nlohmann::json& require(const std::string& key) const {
    if (!has(key)) fail(file_, ": ", path(key), " is missing");
    return json_[key];
  }
  int as_integer(const nlohmann::json& value, const std::string& key) const {
    constexpr double most = std::numeric_limits<int>::max();
    const bool fits = value.is_number_integer() && std::abs(value.get<double>()) <= most;
    if (!fits) wrong(key, value, "an integer");
    return value.get<int>();
  }

  const nlohmann::json& json_;
  std::string file_, where_;
};

}  // namespace lamina::checkpoint
