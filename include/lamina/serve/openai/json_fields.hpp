#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <lamina/core/error.hpp>
#include <lamina/io/json.hpp>
#include <lamina/serve/openai/api_error.hpp>

namespace lamina::serve {

using Json = nlohmann::ordered_json;
using JsonTree = checkpoint::JsonTree<Json>;

/// Bounds of the JSON that clients send. Members: no real request has so many, and each field that the server looks for
/// is compared with all of them.
inline checkpoint::JsonLimits client_json_limits(std::string_view subject, const std::stop_token& cancelled = {}) {
  return {.subject = subject, .depth = 128, .members = 1 << 16, .values = 1 << 21, .cancelled = cancelled};
}

/// The body of a request as a JSON object; ApiError 400 where it is none, is not UTF-8, or exceeds client_json_limits.
inline JsonTree parse_body(std::string_view body, const std::stop_token& cancelled = {}) {
  JsonTree json;
  try {
    *json = checkpoint::parse_json<Json>(body, client_json_limits("body", cancelled));
  } catch (const Json::exception& e) {
    throw ApiError(400, "Bad Request", "body: not valid JSON: " + clipped(e.what()));
  } catch (const Error& e) {
    throw ApiError(400, "Bad Request", e.what());
  }
  if (!json->is_object())
    throw ApiError(400, "Bad Request", cat("body: is JSON of type ", json->type_name(), ", wanted an object"));
  return json;
}

/// Reads the fields of one JSON object; a wrong type or range is an ApiError that names the field's path. A field that
/// is missing or null counts as absent.
class Fields {
 public:
  /// object must outlive this; path is its own place, "" at the top.
  explicit Fields(const Json& object, std::string path = {}) : object_(object), path_(std::move(path)) {
    if (!object.is_object()) throw bad_field(path_, cat(path_, ": is ", object.type_name(), ", wanted an object"));
  }

  std::string path(std::string_view name) const { return path_.empty() ? std::string(name) : cat(path_, ".", name); }

  const Json* find(const char* name) const {
    const auto it = object_.find(name);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  std::optional<std::string> text(const char* name) const {
    const Json* value = find(name);
    if (!value) return {};
    if (!value->is_string()) wrong(name, *value, "a string");
    return value->get<std::string>();
  }
  bool flag(const char* name, bool otherwise = false) const {
    const Json* value = find(name);
    if (!value) return otherwise;
    if (!value->is_boolean()) wrong(name, *value, "true or false");
    return value->get<bool>();
  }
  std::optional<std::int64_t> integer(const char* name, std::int64_t least, std::int64_t most) const {
    const Json* value = find(name);
    if (!value) return {};
    const auto wanted = [&] { return cat("an integer in [", least, ", ", most, "]"); };
    if (!value->is_number()) wrong(name, *value, wanted());
    if (value->is_number_float()) {
      const double x = value->get<double>();
      if (!(std::trunc(x) == x && std::abs(x) < 0x1p53)) wrong(name, *value, wanted());
    } else if (value->is_number_unsigned() && value->get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
      wrong(name, *value, wanted());
    }
    const auto number = value->get<std::int64_t>();
    if (number < least || number > most) wrong(name, *value, wanted());
    return number;
  }
  std::optional<double> number(const char* name, double least, double most) const {
    const Json* value = find(name);
    if (!value) return {};
    return number(name, *value, least, most);
  }
  /// For walks over all members: `value` is the one of this name.
  double number(const char* name, const Json& value, double least, double most) const {
    const double x = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(x >= least && x <= most)) wrong(name, value, cat("a number in [", least, ", ", most, "]"));
    return x;
  }
  const Json* list(const char* name) const {
    const Json* value = find(name);
    if (value && !value->is_array()) wrong(name, *value, "a list");
    return value;
  }

  [[noreturn]] void wrong(const char* name, const Json& value, const std::string& wanted) const {
    throw wrong_field(clipped(path(name)), shown(value), wanted);
  }

 private:
  const Json& object_;
  std::string path_;
};

}  // namespace lamina::serve
