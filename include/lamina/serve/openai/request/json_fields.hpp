#pragma once
#include <algorithm>
#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <lamina/core/error.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/json/fields.hpp>
#include <lamina/serve/openai/api_error.hpp>

namespace lamina::serve {

using Json = nlohmann::ordered_json;
using JsonTree = io::JsonTree<Json>;

inline std::int64_t count_characters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

/// Bounds of the JSON that clients send. Members: no real request has so many, and each field that the server looks for
/// is compared with all of them.
inline io::JsonLimits client_json_limits(std::string_view subject, const std::stop_token& cancelled = {}) {
  return {.subject = subject,
          .depth = 128,
          .members = 1 << 16,
          .values = 1 << 21,
          .unique_keys = false,  // as Python's reader takes them, with which vLLM reads bodies
          .cancelled = cancelled};
}

/// The body of a request as a JSON object; ApiError 400 if it is none, is not UTF-8, or exceeds client_json_limits.
inline JsonTree parse_body(std::string_view body, const std::stop_token& cancelled = {}) {
  JsonTree json;
  try {
    *json = io::parse_json<Json>(body, client_json_limits("body", cancelled));
  } catch (const Error& e) {
    throw ApiError(400, "Bad Request", e.what());
  }
  if (!json->is_object())
    throw ApiError(400, "Bad Request", cat("body: is JSON of type ", json->type_name(), ", wanted an object"));
  return json;
}

/// Mistakes in a request: an ApiError that names the field's path.
struct RequestErrors {
  static constexpr bool whole_floats = true, lax = true;

  [[noreturn]] void no_object(const std::string& path, const Json& got) const {
    throw bad_field(path, cat(path, ": is ", got.type_name(), ", wanted an object"));
  }
  [[noreturn]] void missing(const std::string& path) const { throw bad_field(path, path + ": is missing"); }
  [[noreturn]] void wrong(const std::string& path, const Json& value, std::string_view wanted) const {
    throw wrong_field(clipped(path), shown(value), std::string(wanted));
  }
};

/// The fields of an object in a request: Fields(json, place in the body).
using Fields = io::FieldReader<Json, RequestErrors>;

}  // namespace lamina::serve
