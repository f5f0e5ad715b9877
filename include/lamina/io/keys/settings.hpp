#pragma once
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/keys/setting.hpp>
#include <lamina/io/yaml.hpp>

/// Settings as LLaMA-Factory's programs take them: a YAML or JSON file, key=value, --key value.
namespace lamina::io {

namespace detail {

/// Error if a text holds what no setting can have.
inline void check_text(const std::string& text, const std::string& origin) {
  if (text.find('\0') != std::string::npos)  // paths of the system and messages end there
    fail(origin, ": the value holds a NUL byte: remove it");
  if (text.find("${") != std::string::npos)
    fail(origin, ": ", text, " holds ${...}: interpolation is not supported, write the value itself");
}
inline void check_text(const nlohmann::ordered_json& value, const std::string& origin) {
  if (value.is_string()) check_text(value.get_ref<const std::string&>(), origin);
  if (value.is_structured())
    for (const auto& item : value) check_text(item, origin);
}

inline nlohmann::ordered_json yaml_value(const YAML::Node& node, const std::string& origin) {
  switch (node.Type()) {
    case YAML::NodeType::Sequence: {
      auto list = nlohmann::ordered_json::array();
      for (const auto& item : node) list.push_back(yaml_value(item, origin));
      return list;
    }
    case YAML::NodeType::Map: {
      auto object = nlohmann::ordered_json::object();
      for (const auto& item : node) object[item.first.as<std::string>()] = yaml_value(item.second, origin);
      return object;
    }
    case YAML::NodeType::Scalar:
      check_text(node.Scalar(), origin);
      return node.Scalar();
    default:
      return nullptr;
  }
}

inline std::string read_settings_text(const std::filesystem::path& path) { return read_text(path, 1 << 20); }

/// Puts value under key; a dotted key reaches into an object: lr_scheduler_kwargs.min_lr_rate=0.1.
inline void put(Settings& settings, const std::string& key, nlohmann::ordered_json value, const std::string& origin,
                bool bare = false) {
  const std::size_t dot = key.find('.');
  Setting& setting = settings[key.substr(0, dot)];
  setting.origin = origin;
  setting.bare = bare;
  if (dot == std::string::npos) {
    setting.value = std::move(value);
    return;
  }
  if (!setting.value.is_object()) setting.value = nlohmann::ordered_json::object();
  setting.value[key.substr(dot + 1)] = std::move(value);
}

inline nlohmann::ordered_json parse_scalar(const std::string& text, const std::string& key) {
  const std::string origin = cat("the command line, ", key);
  return yaml_value(load_yaml(text, origin), origin);
}

}  // namespace detail

/// Reads a .yaml or .yml file. The errors of load_yaml, a list at the top and ${...} name the line.
inline Settings read_yaml(const std::filesystem::path& path) {
  Settings settings;
  const YAML::Node root = load_yaml(detail::read_settings_text(path), path.string());
  if (root.IsNull()) return settings;
  if (!root.IsMap()) fail(path.string(), ": wanted `key: value` lines");
  for (const auto& item : root) {
    const auto key = item.first.as<std::string>();
    const std::string origin = cat(path.string(), " line ", item.first.Mark().line + 1);
    settings[key] = {detail::yaml_value(item.second, cat(origin, ", ", key)), origin};
  }
  return settings;
}

/// Reads a .json file: one object, each key once.
inline Settings read_json(const std::filesystem::path& path) {
  Settings settings;
  const std::string file = path.string();
  const auto root =
      parse_json<nlohmann::ordered_json>(detail::read_settings_text(path), {.subject = file, .depth = 64});
  if (!root.is_object()) fail(file, ": is JSON of type ", root.type_name(), ", wanted an object");
  for (const auto& [key, value] : root.items()) {
    detail::check_text(value, cat(file, ", ", key));
    settings[key] = {value, file};
  }
  return settings;
}

/// The settings that the arguments of a program set: `file.yaml [key=value ...]`, `file.json [key=value ...]`, or
/// `--key value ...` (`--flag` alone is true, and - in its name is _). Values of the command line are read as YAML, so
/// key=null unsets. notes: keys that the command line sets twice; the last one holds, as in LLaMA-Factory.
inline Settings read_settings(std::span<const std::string> arguments, std::vector<std::string>& notes) {
  Settings settings;
  std::set<std::string> given;
  const auto set = [&](const std::string& key, const std::string& text, bool bare = false) {
    if (!given.insert(key).second) notes.push_back(cat("the command line: ", key, ": given twice, the last one holds"));
    detail::put(settings, key, detail::parse_scalar(text, key), "the command line", bare);
  };
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    const std::string extension = std::filesystem::path(word).extension().string();
    const std::size_t equals = word.find('=');
    if (i == 0 && equals == std::string::npos && (extension == ".yaml" || extension == ".yml")) {
      settings = read_yaml(word);
    } else if (i == 0 && equals == std::string::npos && extension == ".json") {
      settings = read_json(word);
    } else if (word.rfind("--", 0) == 0 && word.size() > 2) {
      std::string key = word.substr(2, equals == std::string::npos ? equals : equals - 2);
      std::replace(key.begin(), key.end(), '-', '_');
      if (equals != std::string::npos)
        set(key, word.substr(equals + 1));
      else if (i + 1 < arguments.size() && arguments[i + 1].rfind("--", 0) != 0)
        set(key, arguments[++i]);
      else
        set(key, "true", true);
    } else if (equals != std::string::npos && equals > 0) {
      set(word.substr(0, equals), word.substr(equals + 1));
    } else {
      fail("the command line: ", word,
           " is neither a .yaml, .yml or .json file in the first place, nor key=value, nor --key value");
    }
  }
  return settings;
}

}  // namespace lamina::io
