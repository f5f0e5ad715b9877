#pragma once
#include <map>

#include <lamina/checkpoint/torch_dtype.hpp>
#include <lamina/core/suggest.hpp>
#include <lamina/io/yaml.hpp>
#include <lamina/merge/keys.hpp>
#include <lamina/merge/merge.hpp>

/// lamina-merge's command line: LLaMA-Factory's merge YAML (or JSON), overrides, flags.
namespace lamina::merge {

/// Settings as text, by key; null and unset are the same.
using Settings = std::map<std::string, std::string>;

/// What the command line asked for.
struct Request {
  Options options;
  std::vector<std::string> notes;  ///< keys that were given and mean nothing here, one line each
};

namespace detail {

inline std::string scalar_text(const YAML::Node& value, const std::string& key) {
  if (value.IsNull()) return "";
  if (value.IsSequence()) {  // adapter_name_or_path may be a list
    std::string joined;
    for (const auto& item : value) joined += (joined.empty() ? "" : ",") + scalar_text(item, key);
    return joined;
  }
  if (!value.IsScalar()) fail(key, ": got a mapping, wanted one value");
  const std::string text = value.Scalar();
  if (text.find("${") != std::string::npos)
    fail(key, ": got ", text, ": interpolation is not supported, write the value out");
  return text;
}

/// A value of the command line, read as YAML: null unsets, and a list is one.
inline std::string override_text(const std::string& value, const std::string& key) {
  if (value == "None") return "";
  try {
    return scalar_text(checkpoint::load_yaml(value, cat("the command line, ", key)), key);
  } catch (const YAML::Exception& e) {
    fail("the command line: ", key, ": ", value, " cannot be read as a YAML value: ", e.msg);
  }
}

inline void read_file(const std::string& path, Settings& settings) {
  const std::string text = checkpoint::read_text(path, 1 << 20);
  try {
    const YAML::Node root = checkpoint::load_yaml(text, path);  // JSON is YAML
    if (!root.IsMap()) fail(path, ": wanted lines of the form key: value");
    for (const auto& entry : root) {
      const auto key = entry.first.as<std::string>();
      settings[key] = scalar_text(entry.second, key);
    }
  } catch (const YAML::Exception& e) {
    fail(path, ": not valid YAML: ", e.what());
  }
}

inline bool is_config_file(std::string_view word) {
  return !word.starts_with("--") && (word.ends_with(".yaml") || word.ends_with(".yml") || word.ends_with(".json")) &&
         word.find('=') == std::string_view::npos;
}

inline void check_known(const std::string& key) {
  std::vector<std::string_view> known(honoured_keys.begin(), honoured_keys.end());
  known.insert(known.end(), noted_keys.begin(), noted_keys.end());
  for (const RefusedKey& refused : refused_keys) known.push_back(refused.name);
  if (std::find(known.begin(), known.end(), key) != known.end()) return;
  const std::string near = did_you_mean(key, known);
  fail("unknown key ", key, near.empty() ? ": lamina-merge --help lists what a merge reads" : near);
}

inline bool as_bool(const std::string& key, const std::string& value) {
  std::string lower = value;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "true" || lower == "yes" || lower == "on" || lower == "1") return true;
  if (lower.empty() || lower == "false" || lower == "no" || lower == "off" || lower == "0") return false;
  fail(key, ": got \"", value, "\", wanted true or false");
}

inline double as_number(const std::string& key, const std::string& value) {
  std::size_t used = 0;
  double number = 0;
  try {
    number = std::stod(value, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != value.size()) fail(key, ": got \"", value, "\", wanted a number");
  return number;
}

inline std::vector<std::filesystem::path> as_paths(const std::string& list) {
  std::vector<std::filesystem::path> paths;
  std::istringstream in(list);
  for (std::string item; std::getline(in, item, ',');) {
    const auto first = item.find_first_not_of(" \t"), last = item.find_last_not_of(" \t");
    if (first != std::string::npos)
      paths.push_back(checkpoint::without_trailing_slash(item.substr(first, last - first + 1)));
  }
  return paths;
}

inline std::optional<DType> as_dtype(const std::string& value) {
  if (value.empty() || value == "auto") return std::nullopt;
  const auto dtype = checkpoint::dtype_from_torch_name(value);
  if (!dtype || *dtype == DType::F64)
    fail("infer_dtype: got \"", value, "\", wanted auto, bfloat16, float16 or float32");
  return dtype;
}

inline void check_refused(const Settings& settings) {
  for (const RefusedKey& refused : refused_keys) {
    const auto given = settings.find(std::string(refused.name));
    if (given != settings.end() && !given->second.empty() && given->second != refused.neutral)
      fail(refused.name, ": ", given->second, ": ", refused.reason);
  }
}

inline void check_choice(const std::string& key, const std::string& value,
                         std::initializer_list<std::string_view> known) {
  if (value.empty() || std::find(known.begin(), known.end(), value) != known.end()) return;
  std::string list;
  for (const std::string_view word : known) list += (list.empty() ? "" : ", ") + std::string(word);
  fail(key, ": got \"", value, "\", wanted ", list);
}

}  // namespace detail

/// Reads "FILE.yaml key=value ...", "FILE.json ...", or "--key value --flag"; later ones win. Error on an unknown key,
/// with the nearest known one, and on a word that is neither.
inline Settings read_settings(std::span<const std::string> words) {
  Settings settings;
  std::size_t i = 0;
  if (!words.empty() && detail::is_config_file(words[0])) detail::read_file(words[i++], settings);
  for (; i < words.size(); ++i) {
    std::string word = words[i];
    const bool flag = word.starts_with("--");
    if (flag) word = word.substr(2);
    const auto equals = word.find('=');
    if (!flag && equals == std::string::npos)
      fail("cannot read \"", word, "\": wanted a .yaml or .json file first, then key=value or --key value");
    std::string key = word.substr(0, equals), value;
    std::replace(key.begin(), key.end(), '-', '_');
    if (equals != std::string::npos)
      value = word.substr(equals + 1);
    else if (i + 1 < words.size() && !words[i + 1].starts_with("--"))
      value = words[++i];
    else
      value = "true";
    settings[key] = detail::override_text(value, key);
  }
  for (const auto& [key, value] : settings) detail::check_known(key);
  return settings;
}

/// Turns settings into a merge's options; Error on a value that cannot be honoured.
inline Request make_request(const Settings& settings) {
  const auto get = [&](const char* key) {
    const auto found = settings.find(key);
    return found == settings.end() ? std::string() : found->second;
  };
  detail::check_refused(settings);
  detail::check_choice("stage", get("stage"), {"sft"});
  detail::check_choice("finetuning_type", get("finetuning_type"), {"lora", "full", "freeze"});
  detail::check_choice("export_device", get("export_device"), {"cpu", "auto"});

  Request request;
  Options& options = request.options;
  options.model_name_or_path = checkpoint::without_trailing_slash(get("model_name_or_path"));
  if (options.model_name_or_path.empty()) fail("model_name_or_path is missing: name the folder of the base model");
  options.adapter_name_or_path = detail::as_paths(get("adapter_name_or_path"));
  if (const std::string type = get("finetuning_type");
      !options.adapter_name_or_path.empty() && (type == "full" || type == "freeze"))
    fail("finetuning_type: ", type,
         " has no adapter, but adapter_name_or_path is set: set finetuning_type to lora, or ",
         "leave adapter_name_or_path out and give the trained model as model_name_or_path");
  if (!get("adapter_folder").empty())
    for (auto& path : options.adapter_name_or_path) path /= get("adapter_folder");
  options.export_dir = checkpoint::without_trailing_slash(get("export_dir"));
  if (!get("export_size").empty()) options.export_size = detail::as_number("export_size", get("export_size"));
  options.infer_dtype = detail::as_dtype(get("infer_dtype"));
  options.template_name = get("template");
  if (detail::as_bool("export_legacy_format", get("export_legacy_format")))
    request.notes.push_back("export_legacy_format: weights are always written as safetensors");
  for (const auto& [key, value] : settings)
    if (!value.empty() && std::find(noted_keys.begin(), noted_keys.end(), key) != noted_keys.end())
      request.notes.push_back(key + ": means nothing to a merge, ignored");
  return request;
}

}  // namespace lamina::merge
