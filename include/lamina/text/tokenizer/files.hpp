#pragma once
#include <lamina/core/error.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/json/fields.hpp>
#include <lamina/io/json/file.hpp>
#include <lamina/text/tokenizer/pretokenize.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text {

/// A token with its own literal text, found before any other step.
struct AddedToken {
  int id = 0;
  std::string content;
  bool special = false;     ///< decode(skip_special) leaves it out
  bool normalized = false;  ///< searched for in the text after NFC rather than before
  bool control = false;     ///< only a chat template may write it (text/tokenizer/added_tokens.hpp)
};

/// What the files of a tokenizer say, checked for being one that Tokenizer implements. Tokens and merges are spelt in
/// ByteAlphabet.
struct TokenizerFiles {
  std::string source;  ///< the file that errors about the vocabulary name
  std::vector<std::pair<std::string, int>> vocab;
  std::string merges_source;
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<AddedToken> added;

  /// Reads tokenizer.json, or if there is none vocab.json, merges.txt and the added tokens of tokenizer_config.json.
  static TokenizerFiles read(const std::filesystem::path& model_dir);
  /// Marks the added tokens of these spellings as control tokens.
  void mark_controls(std::span<const std::string_view> spellings) {
    for (AddedToken& token : added)
      token.control = std::find(spellings.begin(), spellings.end(), token.content) != spellings.end();
  }
};

namespace detail {

using SortedJson = nlohmann::json;

/// Ids above this are taken for a broken file, before memory is made for them.
inline constexpr std::int64_t highest_token_id = 1 << 24;

/// The value of a field, or null if it is missing.
inline const SortedJson& value_of(const io::JsonFields& fields, std::string_view key) {
  static const SortedJson null;
  const SortedJson* value = fields.find(std::string(key));
  return value ? *value : null;
}
/// The object in a field; without fields if it is missing.
inline io::JsonFields object_of(const io::JsonFields& fields, const std::string& key) {
  static const SortedJson empty = SortedJson::object();
  const SortedJson* object = fields.find(key);
  return {object ? *object : empty, fields.file(), fields.path(key)};
}

/// The value as an error prints it, cut to a readable length.
inline std::string shown(const SortedJson& json) {
  std::string text = json.dump(-1, ' ', true, SortedJson::error_handler_t::replace);
  return text.size() > 120 ? text.substr(0, 120) + "..." : text;
}

inline int token_id(const SortedJson& json, const std::string& source, std::string_view field) {
  if (!json.is_number_integer() || json < 0 || json > highest_token_id) {
    fail(source, ": ", field, " is ", shown(json), ", wanted a token id from 0 to ", highest_token_id);
  }
  return json.get<int>();
}

inline void read_vocab(const SortedJson& json, std::string_view field, TokenizerFiles& files) {
  if (!json.is_object() || json.empty()) {
    fail(files.source, ": ", field, " is ", shown(json), ", wanted an object from token to id");
  }
  files.vocab.reserve(json.size());
  for (const auto& [token, id] : json.items()) {
    files.vocab.emplace_back(token, token_id(id, files.source, cat(field, "[\"", token, "\"]")));
  }
}

/// "left right", the form of merges.txt and of older tokenizer.json files.
inline std::pair<std::string, std::string> split_merge(std::string_view line, const std::string& source,
                                                       std::string_view field) {
  const auto space = line.find(' ');
  if (space == line.npos || space == 0 || space + 1 == line.size() || line.find(' ', space + 1) != line.npos) {
    fail(source, ": ", field, " is \"", line.substr(0, 120), "\", wanted two tokens with a space between");
  }
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1))};
}

inline void read_merges(const SortedJson& json, TokenizerFiles& files) {
  if (!json.is_array()) fail(files.source, ": model.merges is ", shown(json), ", wanted a list");
  files.merges.reserve(json.size());
  for (const SortedJson& merge : json) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      files.merges.emplace_back(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>());
      continue;
    }
    const std::string field = cat("model.merges[", files.merges.size(), "]");
    if (!merge.is_string()) fail(files.source, ": ", field, " is ", shown(merge), ", wanted a pair of tokens");
    files.merges.push_back(split_merge(merge.get_ref<const std::string&>(), files.source, field));
  }
}

inline AddedToken read_added_token(const io::JsonFields& token, int id) {
  const std::string content = token.text("content");
  if (content.empty()) token.wrong("content", content, "a string that is not empty");
  for (const char* key : {"lstrip", "rstrip", "single_word"})
    if (token.boolean(key)) token.wrong(key, true, "false: added tokens are matched literally here");
  return {id, content, token.boolean("special"), token.boolean("normalized")};
}

inline void want(const io::JsonFields& fields, const std::string& key, const SortedJson& wanted) {
  const SortedJson& value = value_of(fields, key);
  if (value != wanted) fields.wrong(key, value, cat(shown(wanted), ": other tokenizers are not supported"));
}
inline void want_off(const io::JsonFields& fields, const std::string& key) {
  const SortedJson& value = value_of(fields, key);
  if (!value.is_null() && value != false && value != "")
    fields.wrong(key, value, "none: tokenizers that use it are not supported");
}

/// The steps around BPE must be the ones implemented here: NFC, split_pattern, byte level.
inline void check_pipeline(const io::JsonFields& file) {
  want(object_of(file, "normalizer"), "type", "NFC");
  want(object_of(file, "decoder"), "type", "ByteLevel");
  const io::JsonFields pre = object_of(file, "pre_tokenizer");
  want(pre, "type", "Sequence");
  const std::string list = "pretokenizers";
  const SortedJson& steps = value_of(pre, list);
  if (!steps.is_array() || steps.size() != 2) pre.wrong(list, steps, "a Split and a ByteLevel");
  const io::JsonFields split(steps[0], file.file(), pre.path(list) + "[0]"),
      bytes(steps[1], file.file(), pre.path(list) + "[1]");
  want(split, "type", "Split");
  want(object_of(split, "pattern"), "Regex", std::string(split_pattern));
  want(split, "behavior", "Isolated");
  want_off(split, "invert");
  want(bytes, "type", "ByteLevel");
  want(bytes, "add_prefix_space", false);
  want(bytes, "use_regex", false);
}

inline TokenizerFiles read_tokenizer_json(const std::filesystem::path& path) {
  TokenizerFiles files;
  files.source = files.merges_source = path.string();
  const SortedJson json = io::read_json_object<SortedJson>(path, io::large_json_bytes);
  const io::JsonFields file(json, files.source), model = object_of(file, "model");
  want(model, "type", "BPE");
  for (const char* key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"})
    want_off(model, key);
  check_pipeline(file);
  read_vocab(value_of(model, "vocab"), "model.vocab", files);
  read_merges(value_of(model, "merges"), files);
  file.maybe_list("added_tokens");
  const SortedJson& added = value_of(file, "added_tokens");
  for (std::size_t i = 0; i < added.size(); ++i) {
    const std::string field = cat("added_tokens[", i, "]");
    const io::JsonFields token(added[i], files.source, field);
    files.added.push_back(read_added_token(token, token_id(token.require("id"), files.source, field + ".id")));
  }
  return files;
}

inline void read_merges_txt(const std::filesystem::path& path, TokenizerFiles& files) {
  files.merges_source = path.string();
  const std::string text = io::read_text(path);
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line(text.data() + at, end - at);
    at = end + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    files.merges.push_back(split_merge(line, files.merges_source, cat("line ", number)));
  }
}

inline void read_tokenizer_config(const std::filesystem::path& path, TokenizerFiles& files) {
  const SortedJson json = io::read_json_object<SortedJson>(path);
  const std::string source = path.string();
  const io::JsonFields fields(json, source);
  const SortedJson& kind = value_of(fields, "tokenizer_class");
  // vocab.json and merges.txt do not name their pattern: only the class tells these files from, say, GPT-2's.
  if (std::ranges::none_of(split_pattern_classes, [&](std::string_view name) { return kind == name; }))
    fail(source, ": tokenizer_class is ", shown(kind), ", wanted \"", split_pattern_classes[0],
         "\" next to vocab.json and merges.txt");
  const SortedJson& added = value_of(fields, "added_tokens_decoder");
  if (!added.is_object()) fields.wrong("added_tokens_decoder", added, "an object from id to token");
  for (const auto& [key, token] : added.items()) {
    const std::string field = cat("added_tokens_decoder[\"", key, "\"]");
    const bool digits = !key.empty() && key.size() < 10 && key.find_first_not_of("0123456789") == key.npos;
    const int id = token_id(digits ? SortedJson(std::stoll(key)) : SortedJson(key), source, "the key of " + field);
    files.added.push_back(read_added_token({token, source, field}, id));
  }
}

}  // namespace detail

inline TokenizerFiles TokenizerFiles::read(const std::filesystem::path& model_dir) {
  std::error_code ignored;
  if (std::filesystem::exists(model_dir / "tokenizer.json", ignored)) {
    return detail::read_tokenizer_json(model_dir / "tokenizer.json");
  }
  if (!std::filesystem::exists(model_dir / "vocab.json", ignored)) {
    fail("tokenizer: ", model_dir.string(),
         " has neither tokenizer.json nor vocab.json: wanted tokenizer.json, or vocab.json, merges.txt and "
         "tokenizer_config.json");
  }
  TokenizerFiles files;
  files.source = (model_dir / "vocab.json").string();
  detail::read_vocab(io::read_json_object<detail::SortedJson>(model_dir / "vocab.json", io::large_json_bytes),
                     "the vocabulary", files);
  detail::read_merges_txt(model_dir / "merges.txt", files);
  detail::read_tokenizer_config(model_dir / "tokenizer_config.json", files);
  return files;
}

}  // namespace lamina::text
