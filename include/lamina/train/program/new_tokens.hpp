#pragma once
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <lamina/io/file.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/io/yaml.hpp>
#include <lamina/model/config/model_config.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/text/tokenizer/more_tokens.hpp>
#include <lamina/train/arguments.hpp>

/// add_tokens, add_special_tokens, new_special_tokens_config and resize_vocab: released models have more rows of
/// embedding than tokens, and new tokens take those. source  LLaMA-Factory 0.9.5, model/patcher.py, model/adapter.py
namespace lamina::train {

/// The tokens that a run adds. Error if the file that names them is no mapping.
inline text::MoreTokens new_tokens(const Arguments& a) {
  text::MoreTokens more{a.add_tokens, a.add_special_tokens};
  if (!a.new_special_tokens_config.empty()) {
    const std::string file = a.new_special_tokens_config.string();
    if (!std::filesystem::exists(file)) throw io::FileError(cat("new_special_tokens_config: there is no file ", file));
    const YAML::Node root = io::load_yaml(io::read_text(a.new_special_tokens_config), file);
    if (!root.IsMap()) fail("new_special_tokens_config: ", file, ": wanted `token: description` lines");
    more.special.clear();
    for (const auto& item : root) more.special.push_back(item.first.as<std::string>());
  }
  for (const auto* texts : {&more.plain, &more.special})
    for (const std::string& text : *texts)
      if (text.empty()) io::usage("add_tokens, add_special_tokens: a token is empty");
  return more;
}

/// Error if a tokenizer with `fresh` tokens has more of them than the model's embedding has rows.
inline void require_rows(const ModelConfig& config, const std::vector<text::AddedToken>& fresh) {
  const int rows = config.text_config.vocab_size;
  if (fresh.empty() || fresh.back().id < rows) return;
  const auto fit = std::count_if(fresh.begin(), fresh.end(), [&](const auto& token) { return token.id < rows; });
  fail("add_tokens, add_special_tokens: the model's embedding has ", rows, " rows, of which ", fit,
       " are to spare, and ", fresh.size(), " tokens are new: add fewer; a larger vocab_size is another model type");
}

/// What new tokens switch on: the embedding and the head are trained whole next to fresh adapters, unless
/// additional_target says what is.
inline void train_new_rows(Arguments& a, const Regions& regions, bool any_fresh) {
  if ((!any_fresh && !a.resize_vocab) || a.finetuning_type != "lora" || !a.additional_target.empty()) return;
  if (!a.adapter_name_or_path.empty() && !a.create_new_adapter) return;
  for (const std::string_view module : {regions.embedding, regions.head})
    a.additional_target.emplace_back(module.substr(module.rfind('.') + 1));
}

/// The model's tokenizer with a run's new tokens, which are reported to `say`; the run learns what they switch on.
template <class Say>
text::Tokenizer tokenizer_with_new_tokens(Arguments& a, const ModelConfig& config, Say say) {
  auto files = text::TokenizerFiles::read(a.model_name_or_path);
  const auto fresh = text::add_tokens(files, new_tokens(a));
  require_rows(config, fresh);
  files.mark_controls(config.family->chat.control_tokens);
  if (!a.new_special_tokens_config.empty() && !a.add_special_tokens.empty())
    say("note: add_special_tokens has no effect: new_special_tokens_config names the special tokens");
  train_new_rows(a, config.family->regions, !fresh.empty());
  for (const text::AddedToken& token : fresh)
    say(cat("new token: ", token.content, ", id ", token.id, token.special ? ", special" : ""));
  return text::Tokenizer(files);
}

}  // namespace lamina::train
