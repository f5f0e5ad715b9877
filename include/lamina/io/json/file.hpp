#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>

/// JSON of files, which may be foreign: every mistake is an Error that names the file.
namespace lamina::io {

/// What a vocabulary or the state of a long run may have. Other files are configurations: parsed, a text may take
/// twenty times its size.
inline constexpr std::uint64_t large_json_bytes = 256 << 20, json_bytes = 16 << 20;

/// The object in a file, each of whose objects has a key once.
template <class Json>
Json read_json_object(const std::filesystem::path& path, std::uint64_t limit_bytes = json_bytes) {
  const std::string file = path.string();
  auto json = parse_json<Json>(read_text(path, limit_bytes), {.subject = file, .depth = 64});
  if (!json.is_object()) fail(file, ": is JSON of type ", json.type_name(), ", wanted an object");
  return json;
}

}  // namespace lamina::io
