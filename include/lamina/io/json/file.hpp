#pragma once
#include <filesystem>
#include <string>

#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>

/// JSON of files, which may be foreign: every mistake is an Error that names the file.
namespace lamina::io {

/// The object in a file, each of whose objects has a key once.
template <class Json>
Json read_json_object(const std::filesystem::path& path) {
  const std::string file = path.string();
  auto json = parse_json<Json>(read_text(path), {.subject = file, .depth = 64});
  if (!json.is_object()) fail(file, ": is JSON ", json.type_name(), ", wanted an object");
  return json;
}

}  // namespace lamina::io
