#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>

/// JSON of files, which may be foreign: every mistake is an Error that names the file.
namespace lamina::io {

/// parse_json() with an Error if text is not JSON. limits.subject: the file.
template <class Json>
Json parse_json_text(std::string_view text, const JsonLimits& limits) {
  try {
    return parse_json<Json>(text, limits);
  } catch (const typename Json::exception& e) {
    fail(limits.subject, ": not valid JSON: ", e.what(), ": is the file whole?");
  }
}

/// The object in a file. unique_keys: a key that is set twice is an Error, instead of its last value being taken.
template <class Json>
Json read_json_object(const std::filesystem::path& path, bool unique_keys = true) {
  const std::string file = path.string();
  auto json = parse_json_text<Json>(read_text(path), {.subject = file, .depth = 64, .unique_keys = unique_keys});
  if (!json.is_object()) fail(file, ": is JSON ", json.type_name(), ", wanted an object");
  return json;
}

}  // namespace lamina::io
