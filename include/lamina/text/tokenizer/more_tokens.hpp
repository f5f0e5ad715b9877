#pragma once
#include <lamina/text/tokenizer/files.hpp>

#include <set>

/// Tokens that a run adds to a tokenizer: what they become, and the files that say so.
namespace lamina::text {

/// Texts to add as tokens, if they are none yet; special ones are left out where control tokens are.
struct MoreTokens {
  std::vector<std::string> plain, special;
  bool empty() const { return plain.empty() && special.empty(); }
};

/// Adds tokens, numbered from the highest id on, as the `tokenizers` library does; a token of the vocabulary keeps its
/// id. Returns those that were no added tokens before, in the order of their ids.
inline std::vector<AddedToken> add_tokens(TokenizerFiles& files, const MoreTokens& more) {
  std::set<std::string> known;
  int next = 0;
  for (const auto& [token, id] : files.vocab) next = std::max(next, id + 1);
  for (const AddedToken& token : files.added) known.insert(token.content), next = std::max(next, token.id + 1);
  std::vector<AddedToken> fresh;
  const auto add = [&](const std::vector<std::string>& texts, bool special) {
    for (const std::string& text : texts) {
      if (!known.insert(text).second) continue;
      const auto own =
          std::find_if(files.vocab.begin(), files.vocab.end(), [&](const auto& entry) { return entry.first == text; });
      const int id = own == files.vocab.end() ? next++ : own->second;
      fresh.push_back({.id = id, .content = text, .special = special, .normalized = !special});
    }
  };
  add(more.plain, false), add(more.special, true);
  files.added.insert(files.added.end(), fresh.begin(), fresh.end());
  return fresh;
}

/// Writes the files of a tokenizer with more tokens next to those that do not change: tokenizer.json,
/// tokenizer_config.json and added_tokens.json, as far as the folder `from` has them.
inline void write_with_more_tokens(const std::filesystem::path& from, const std::filesystem::path& to,
                                   const MoreTokens& more) {
  TokenizerFiles files = TokenizerFiles::read(from);
  const std::vector<AddedToken> fresh = add_tokens(files, more);
  const auto edit = [&](const char* name, auto change) {
    if (!std::filesystem::exists(from / name)) return;
    auto json = io::read_json_object<nlohmann::ordered_json>(from / name, io::large_json_bytes);
    for (const AddedToken& token : fresh)
      change(json, token,
             nlohmann::ordered_json{{"content", token.content},
                                    {"lstrip", false},
                                    {"normalized", token.normalized},
                                    {"rstrip", false},
                                    {"single_word", false},
                                    {"special", token.special}});
    io::write_text(to / name, json.dump(2) + "\n");
  };
  edit("tokenizer.json", [](auto& json, const AddedToken& token, nlohmann::ordered_json entry) {
    nlohmann::ordered_json numbered = {{"id", token.id}};
    numbered.update(entry);
    json["added_tokens"].push_back(numbered);
  });
  edit("tokenizer_config.json", [](auto& json, const AddedToken& token, const nlohmann::ordered_json& entry) {
    if (json.contains("added_tokens_decoder")) json["added_tokens_decoder"][std::to_string(token.id)] = entry;
  });
  edit("added_tokens.json", [](auto& json, const AddedToken& token, const auto&) { json[token.content] = token.id; });
}

/// The folder whose tokenizer a model has with adapters folded in: that of the last adapter that was trained with
/// tokens which the model's own tokenizer lacks, else the model's.
inline std::filesystem::path tokenizer_folder(const std::filesystem::path& model,
                                              std::span<const std::filesystem::path> adapters) {
  const auto highest = [](const TokenizerFiles& files) {
    int id = 0;
    for (const AddedToken& token : files.added) id = std::max(id, token.id);
    return id;
  };
  for (std::size_t i = adapters.size(); i > 0; --i) {
    const std::filesystem::path own = adapters[i - 1] / "tokenizer.json", base = model / "tokenizer.json";
    if (!std::filesystem::exists(own)) continue;
    if (std::filesystem::exists(base) && io::read_text(own) == io::read_text(base)) continue;
    if (highest(TokenizerFiles::read(adapters[i - 1])) > highest(TokenizerFiles::read(model))) return adapters[i - 1];
  }
  return model;
}

}  // namespace lamina::text
