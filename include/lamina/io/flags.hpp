#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/core/log.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/keys/key_table.hpp>
#include <lamina/io/yaml.hpp>

/// Command lines of flags, spelt as vLLM's are: --name value, --name=value, - or _ between words, unique beginnings,
/// --no-name, --name.key value for an entry of a JSON flag. (CLI11 knows none of the last three, and no near words.)
namespace lamina::io {

/// A length or a size: 4096, 1k = 1000, 25.6k = 25600, 2m, and in powers of 1024: 1K, 2M, 1G. UsageError otherwise,
/// which names the numbers that the flag may be if both their ends are known.
inline std::int64_t parse_size(std::string_view flag, const std::string& text, const Range& range = {}) {
  const auto bad = [&] {
    const bool bounded = std::isfinite(range.least) && std::isfinite(range.most);
    usage("--", flag, " ", text, ": wanted ", bounded ? range.text() : "a number such as 4096, 4k (4000) or 4K (4096)");
  };
  std::size_t end = 0;
  double value = 0;
  try {
    value = std::stod(text, &end);
  } catch (const std::exception&) {
    bad();
  }
  double unit = 1;
  if (end < text.size()) {
    const std::string_view small = "kmgt", large = "KMGT";
    const char c = text[end++];
    const auto low = small.find(c), high = large.find(c);
    if (low != std::string_view::npos)
      unit = std::pow(1000.0, static_cast<double>(low) + 1);
    else if (high != std::string_view::npos && text.find('.') == std::string::npos)
      unit = std::pow(1024.0, static_cast<double>(high) + 1);
    else
      bad();
  }
  value *= unit;
  if (end != text.size() || std::abs(value - std::round(value)) > 1e-6 || !(std::abs(value) < 0x1p53)) bad();
  return std::llround(value);
}

/// What a program's flags have besides their table.
struct FlagRules {
  std::string_view positional = "";  ///< the flag that the one word without a name is for; "": there is none
  std::string_view rest = "";        ///< the list that further such words go to; "": they are an error
  std::string_view config = "";      ///< the flag that names a YAML file of flags; the command line wins over it
  std::vector<std::pair<std::string_view, std::string_view>> aliases = {};  ///< other names; of two letters with one -
  bool lists_grow = false;  ///< a list that is given again goes on, instead of beginning anew
};

namespace detail {

/// Flags as words: what was given, not yet what it means.
class FlagWords {
 public:
  FlagWords(std::vector<const KeyRow*> rows, const FlagRules& rules) : rows_(std::move(rows)), rules_(rules) {}

  Settings read(const std::vector<std::string>& words, std::vector<std::string>& notes) {
    for (at_ = 0; at_ < words.size();) read_flag(words, notes);
    const auto config = given_.find(rules_.config);
    if (config != given_.end()) read_config(shown(config->second.value));
    return std::move(given_);
  }

 private:
  using Json = nlohmann::ordered_json;

  static bool is_flag(const std::string& word) {
    return word.size() > 1 && word[0] == '-' && !(word[1] >= '0' && word[1] <= '9') && word[1] != '.';
  }

  /// The flag of this name or of this unique beginning; null if there is none.
  const KeyRow* search(std::string_view wanted, const std::string& word) const {
    for (const auto& [alias, name] : rules_.aliases)
      if (alias == wanted) wanted = name;
    const KeyRow* found = nullptr;
    int matches = 0;
    for (const KeyRow* row : rows_) {
      if (row->name == wanted) return row;
      if (!wanted.empty() && row->name.starts_with(wanted)) found = row, ++matches;
    }
    if (matches > 1) usage(word, ": is the beginning of several options; write it out");
    return found;
  }
  /// The same, also with "no-" before it; the second says whether it is.
  std::pair<const KeyRow*, bool> find(std::string name, const std::string& word) const {
    std::replace(name.begin(), name.end(), '_', '-');
    if (const KeyRow* row = search(name, word)) return {row, false};
    if (name.starts_with("no-"))
      if (const KeyRow* row = search(std::string_view(name).substr(3), word); row && row->type == KeyType::flag)
        return {row, true};
    unknown(name, word);
  }
  [[noreturn]] void unknown(const std::string& name, const std::string& word) const {
    std::vector<std::string_view> known = {"help", "version"};  // run_program answers them
    if (name == "help" || name == "version") usage(word, ": wanted --", name, ", without a value");
    for (const KeyRow* row : rows_) known.push_back(row->name);
    usage(word, ": is not an option", did_you_mean(name, known), "; --help lists them");
  }
  bool is_short(const std::string& name) const {
    return std::any_of(rules_.aliases.begin(), rules_.aliases.end(),
                       [&](const auto& alias) { return alias.first == name && name.size() <= 2; });
  }

  void read_flag(const std::vector<std::string>& words, std::vector<std::string>& notes) {
    const std::string& word = words[at_++];
    if (!is_flag(word)) return read_positional(word);
    std::string name = word.substr(word.starts_with("--") ? 2 : 1), key;
    std::vector<std::string> values;
    const auto equals = name.find('=');
    const bool has_value = equals != std::string::npos;
    if (has_value) values.push_back(name.substr(equals + 1)), name.resize(equals);
    if (!word.starts_with("--") && !is_short(name)) unknown(name, word);
    if (const auto dot = name.find('.'); dot != std::string::npos) key = name.substr(dot + 1), name.resize(dot);
    const auto [row, negated] = find(name, word);
    if (row->type == KeyType::flag) {
      if (has_value) usage(word, ": takes no value");
      return store(*row, !negated, notes);
    }
    if (!has_value) values = values_after(words, row->type == KeyType::list);
    if (values.empty())
      usage(word, ": wants a value",
            at_ < words.size() ? cat("; one that begins with - is written ", word, "=VALUE") : "");
    if (key.empty())
      store(*row, typed(*row, values), notes);
    else
      store_entry(*row, key, values.back());
  }
  std::vector<std::string> values_after(const std::vector<std::string>& words, bool many) {
    std::vector<std::string> values;
    while (at_ < words.size() && !is_flag(words[at_]) && (values.empty() || many)) values.push_back(words[at_++]);
    return values;
  }
  void read_positional(const std::string& word) {
    if (rules_.positional.empty()) usage(word, ": is not an option; --help lists them");
    if (const auto at = given_.find(rules_.positional); at != given_.end()) {
      if (!rules_.rest.empty()) return given_[std::string(rules_.rest)].value.push_back(word);
      usage(word, ": an argument too many; the ", rules_.positional, " is ", shown(at->second.value));
    }
    given_[std::string(rules_.positional)] = {word, ""};
  }

  static Json typed(const KeyRow& row, const std::vector<std::string>& values) {
    if (row.type == KeyType::list) {
      for (const std::string& value : values)
        if (value.empty()) usage("--", row.name, " '': wanted a value; is a variable of your script not set?");
      return values;
    }
    if (row.type == KeyType::integer) return parse_size(row.name, values.back(), row.range);
    return values.back();
  }
  void store(const KeyRow& row, Json value, std::vector<std::string>& notes) {
    if (const auto at = given_.find(row.name); rules_.lists_grow && value.is_array() && at != given_.end()) {
      for (Json& item : value) at->second.value.push_back(std::move(item));
      return;
    }
    const auto [at, is_new] = given_.insert_or_assign(std::string(row.name), Setting{std::move(value), ""});
    if (!is_new) notes.push_back(cat("--", at->first, ": given twice, the last one holds"));
  }
  void store_entry(const KeyRow& row, std::string key, const std::string& text) {
    Json& slot = given_[std::string(row.name)].value;
    Json json = slot.is_null() ? Json::object() : try_parse_json<Json>(shown(slot));
    if (!json.is_object()) usage("--", row.name, ".", key, ": the option is not a JSON object");
    Json value = try_parse_json<Json>(text);
    if (value.is_discarded()) value = text;
    const bool append = key.ends_with('+');
    if (append) key.pop_back();
    Json* at = &json;
    for (std::size_t dot = 0; (dot = key.find('.')) != std::string::npos; key.erase(0, dot + 1))
      at = &(*at)[key.substr(0, dot)];
    if (!at->is_object() && !at->is_null()) usage("--", row.name, ": ", key, " is inside a value");
    Json& entry = (*at)[key];
    if (append && (entry.is_null() || entry.is_array()))
      entry.push_back(value);
    else
      entry = value;
    slot = json.dump();
  }

  static Json to_json(const YAML::Node& node) {
    Json out;
    if (node.IsMap()) {
      out = Json::object();
      for (const auto& entry : node) out[entry.first.as<std::string>()] = to_json(entry.second);
    } else if (node.IsSequence()) {
      out = Json::array();
      for (const auto& entry : node) out.push_back(to_json(entry));
    } else if (node.IsScalar()) {
      out = try_parse_json<Json>(node.Scalar());
      if (out.is_discarded() || node.Tag() == "!") out = node.Scalar();
    }
    return out;
  }
  static std::string text_of(const YAML::Node& node) { return node.IsScalar() ? node.Scalar() : to_json(node).dump(); }
  static Json config_value(const KeyRow& row, const YAML::Node& node, const std::string& subject, bool negated) {
    if (row.type == KeyType::flag) {
      bool on = false;
      if (!YAML::convert<bool>::decode(node, on)) usage(subject, ": wanted true or false");
      return on != negated;
    }
    std::vector<std::string> values;
    if (node.IsSequence() && row.type == KeyType::list)
      for (const auto& item : node) values.push_back(text_of(item));
    else
      values.push_back(text_of(node));
    return typed(row, values);
  }
  void read_config(const std::string& path) {
    if (path.empty()) usage("--", rules_.config, " '': wanted a path; is a variable of your script not set?");
    YAML::Node root;
    try {
      root = load_yaml(read_text(path, 1 << 20), path);
    } catch (const FileError& e) {
      throw FileError(cat("--", rules_.config, " ", e.what()));
    } catch (const Error& e) {
      usage("--", rules_.config, " ", e.what());
    }
    if (!root.IsMap()) usage("--", rules_.config, " ", path, ": wanted one option per line, \"name: value\"");
    std::set<std::string_view> set_here;
    for (const auto& entry : root) {
      const auto name = entry.first.as<std::string>(), subject = cat(path, ": ", name);
      const auto [row, negated] = find(name, subject);
      if (!set_here.insert(row->name).second) usage(subject, ": --", row->name, " is set twice: keep one");
      if (Json value = config_value(*row, entry.second, subject, negated); !given_.contains(row->name))
        given_[std::string(row->name)] = {std::move(value), ""};
    }
  }

  std::vector<const KeyRow*> rows_;
  const FlagRules& rules_;
  Settings given_;
  std::size_t at_ = 0;  // the next word
};

}  // namespace detail

/// The flags that the words of a command line give, without the program's name; UsageError for what cannot be
/// understood. notes: flags that are given twice.
template <class Target>
Settings read_flags(std::span<const Key<Target>> table, const std::vector<std::string>& words, const FlagRules& rules,
                    std::vector<std::string>& notes) {
  std::vector<const KeyRow*> rows;
  for (const Key<Target>& key : table) rows.push_back(&key);
  return detail::FlagWords(std::move(rows), rules).read(words, notes);
}

/// A program's flags in its struct; required: those that must be given. Logs notes about what has no effect.
template <class Target>
Target parse_flags(std::span<const Key<Target>> table, const std::vector<std::string>& words,
                   std::initializer_list<std::string_view> required = {}) {
  std::vector<std::string> notes;
  const Settings given = read_flags(table, words, {.lists_grow = true}, notes);
  for (const std::string_view name : required)
    if (!given.contains(name)) usage("--", name, ": is missing");
  check_keys(table, given, notes);
  for (const std::string& text : notes) note(text);
  Target target;
  fill(table, given, target);
  return target;
}

}  // namespace lamina::io
