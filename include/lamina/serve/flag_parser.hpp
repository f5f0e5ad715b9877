#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/core/error.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/flags.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/yaml.hpp>
#include <lamina/serve/flag_table.hpp>

namespace lamina::serve {

using io::parse_size;
using io::UsageError;

namespace detail {
using io::usage;
}

/// Options as words: what was given, not yet what it means.
class FlagWords {
 public:
  /// arguments: without the program's name. UsageError for what cannot be understood.
  static FlagWords parse(const std::vector<std::string>& arguments) {
    FlagWords out;
    out.read_arguments(arguments);
    if (const auto* config = out.find("config")) out.read_config(config->back());
    return out;
  }

  /// Values of an option; null if it was not given. "true" or "false" for one that takes nothing.
  const std::vector<std::string>* find(std::string_view name) const {
    const auto it = given_.find(std::string(name));
    return it == given_.end() ? nullptr : &it->second;
  }
  const std::map<std::string, std::vector<std::string>>& given() const { return given_; }
  const std::vector<std::string>& warnings() const { return warnings_; }

 private:
  static bool is_option(const std::string& word) {
    return word.size() > 1 && word[0] == '-' && !(word[1] >= '0' && word[1] <= '9') && word[1] != '.';
  }

  /// The option of this name, of this unique beginning, or with "no-" before it; `negated` tells which.
  static const Flag& find_flag(std::string name, const std::string& word, bool& negated) {
    std::replace(name.begin(), name.end(), '_', '-');
    const auto& table = flag_table();
    const auto search = [&](std::string_view wanted) -> const Flag* {
      wanted = flag_alias(wanted);
      const Flag* found = nullptr;
      int matches = 0;
      for (const auto& flag : table) {
        if (flag.name == wanted) return &flag;
        if (!wanted.empty() && flag.name.starts_with(wanted)) found = &flag, ++matches;
      }
      if (matches > 1) detail::usage(word, ": is the beginning of several options; write it out");
      return found;
    };
    negated = false;
    if (const Flag* flag = search(name)) return *flag;
    if (name.starts_with("no-"))
      if (const Flag* flag = search(std::string_view(name).substr(3)); flag && flag->takes == Flag::Takes::nothing) {
        negated = true;
        return *flag;
      }
    detail::usage(word, ": is not an option; --help lists them");
  }

  void read_arguments(const std::vector<std::string>& arguments) {
    for (std::size_t i = 0; i < arguments.size();) {
      const std::string& word = arguments[i++];
      if (!is_option(word)) {
        if (find("model")) detail::usage(word, ": an argument too many; the model is ", find("model")->back());
        given_["model"] = {word};
        continue;
      }
      std::string name = word.substr(word.starts_with("--") ? 2 : 1);
      if (!word.starts_with("--") && name != "tp" && name != "pp" && name != "dp" && name != "h")
        detail::usage(word, ": is not an option; --help lists them");
      if (name == "h") name = "help";
      std::vector<std::string> values;
      const auto equals = name.find('=');
      const bool inline_value = equals != std::string::npos;
      if (inline_value) values.push_back(name.substr(equals + 1)), name.resize(equals);
      std::string dotted = name, key;  // --opt.key value: one entry of a JSON option
      if (const auto dot = name.find('.'); dot != std::string::npos)
        key = name.substr(dot + 1), dotted = name.substr(0, dot);
      bool negated = false;
      const Flag& flag = find_flag(dotted, word, negated);
      if (flag.takes == Flag::Takes::nothing) {
        if (inline_value && flag.name != "help") detail::usage(word, ": takes no value");
        if (!inline_value) values = {negated ? "false" : "true"};
      } else if (!inline_value) {
        while (i < arguments.size() && !is_option(arguments[i]) && (values.empty() || flag.takes == Flag::Takes::many))
          values.push_back(arguments[i++]);
        if (values.empty()) detail::usage(word, ": wants a value");
      }
      store(flag, key, std::move(values));
    }
  }

  void store(const Flag& flag, const std::string& key, std::vector<std::string> values) {
    auto& slot = given_[std::string(flag.name)];
    if (!key.empty()) return store_entry(slot, flag, key, values.back());
    if (!slot.empty()) warnings_.push_back(cat("--", flag.name, ": given twice, the last one holds"));
    slot = std::move(values);
  }
  static void store_entry(std::vector<std::string>& slot, const Flag& flag, std::string key, const std::string& text) {
    auto json = slot.empty() ? nlohmann::ordered_json::object()
                             : checkpoint::try_parse_json<nlohmann::ordered_json>(slot.back());
    if (!json.is_object()) detail::usage("--", flag.name, ".", key, ": the option is not a JSON object");
    auto value = checkpoint::try_parse_json<nlohmann::ordered_json>(text);
    if (value.is_discarded()) value = text;
    const bool append = key.ends_with('+');
    if (append) key.pop_back();
    nlohmann::ordered_json* at = &json;
    for (std::size_t dot = 0; (dot = key.find('.')) != std::string::npos; key.erase(0, dot + 1))
      at = &(*at)[key.substr(0, dot)];
    if (!at->is_object() && !at->is_null()) detail::usage("--", flag.name, ": ", key, " lies inside a value");
    auto& entry = (*at)[key];
    if (append && (entry.is_null() || entry.is_array()))
      entry.push_back(value);
    else
      entry = value;
    slot = {json.dump()};
  }

  static nlohmann::ordered_json to_json(const YAML::Node& node) {
    nlohmann::ordered_json out;
    if (node.IsMap()) {
      out = nlohmann::ordered_json::object();
      for (const auto& entry : node) out[entry.first.as<std::string>()] = to_json(entry.second);
    } else if (node.IsSequence()) {
      out = nlohmann::ordered_json::array();
      for (const auto& entry : node) out.push_back(to_json(entry));
    } else if (node.IsScalar()) {
      out = checkpoint::try_parse_json<nlohmann::ordered_json>(node.Scalar());
      if (out.is_discarded() || node.Tag() == "!") out = node.Scalar();
    }
    return out;
  }
  void read_config(const std::string& path) {
    YAML::Node root;
    try {
      root = checkpoint::load_yaml(checkpoint::read_text(path, 1 << 20), path);
    } catch (const YAML::Exception& e) {
      detail::usage("--config ", path, ": ", e.what());
    } catch (const Error& e) {
      detail::usage("--config ", e.what());
    }
    if (!root.IsMap()) detail::usage("--config ", path, ": wanted one option a line, \"name: value\"");
    const auto of_command_line = given_;
    for (const auto& entry : root) {
      const auto name = entry.first.as<std::string>();
      bool negated = false;
      const Flag& flag = find_flag(name, cat(path, ": ", name), negated);
      if (of_command_line.contains(std::string(flag.name))) continue;
      if (find(flag.name)) detail::usage(path, ": ", name, ": --", flag.name, " is set twice: keep one");
      std::vector<std::string> values;
      const auto& node = entry.second;
      if (node.IsSequence() && flag.takes == Flag::Takes::many)
        for (const auto& item : node) values.push_back(item.as<std::string>());
      else
        values.push_back(node.IsScalar() ? node.Scalar() : to_json(node).dump());
      if (flag.takes == Flag::Takes::nothing) {
        bool on = false;
        if (!YAML::convert<bool>::decode(node, on)) detail::usage(path, ": ", name, ": wanted true or false");
        values = {on != negated ? "true" : "false"};
      }
      given_[std::string(flag.name)] = std::move(values);
    }
  }

  std::map<std::string, std::vector<std::string>> given_;
  std::vector<std::string> warnings_;
};

}  // namespace lamina::serve
