#pragma once
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/io/visible.hpp>

namespace lamina::io {

/// One value that the user wrote, before its type is known: YAML scalars stay strings, JSON values keep their type.
struct Setting {
  nlohmann::ordered_json value;  ///< null: unset, as if the key were not there
  std::string origin;            ///< "file.yaml line 12" or "the command line"; of a flag "", for it names itself
  bool bare = false;             ///< `--key` alone: true, if the key is a flag
};

/// Everything that a file and the command line set, key by key; a later source replaces an earlier one.
using Settings = std::map<std::string, Setting, std::less<>>;

/// The value as the user wrote it.
inline std::string shown(const nlohmann::ordered_json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

/// "file.yaml line 12: lora_rank", or "--lora-rank": what a message about a setting begins with.
inline std::string subject(const Setting& setting, std::string_view key) {
  return setting.origin.empty() ? cat("--", key) : cat(setting.origin, ": ", key);
}

/// Throws: the value is not what the key takes.
[[noreturn]] inline void wrong_value(const Setting& setting, std::string_view key, std::string_view wanted) {
  const bool flag = setting.origin.empty();
  throw UsageError(cat(subject(setting, key), flag ? " " : " is ", foreign_name(shown(setting.value)),
                       flag ? ": wanted " : ", wanted ", wanted));
}

}  // namespace lamina::io
