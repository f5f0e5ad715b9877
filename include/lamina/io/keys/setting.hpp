#pragma once
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include <lamina/core/error.hpp>

namespace lamina::io {

/// A command line, or a file of settings, that cannot be understood: exit status 2.
struct UsageError : Error {
  using Error::Error;
};

/// One value that the user wrote, before its type is known: YAML scalars stay strings, JSON values keep their type.
struct Setting {
  nlohmann::ordered_json value;  ///< null: unset, as if the key were not there
  std::string origin;            ///< "file.yaml line 12" or "the command line"; of a flag "", for it names itself
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
  throw UsageError(
      cat(subject(setting, key), flag ? " " : " is ", shown(setting.value), flag ? ": wanted " : ", wanted ", wanted));
}

}  // namespace lamina::io
