#pragma once
#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/core/error.hpp>
#include <lamina/model/config/read.hpp>
#include <lamina/serve/generation_defaults.hpp>
#include <lamina/serve/prompt/chat_template_files.hpp>
#include <lamina/text/prompt_template.hpp>
#include <lamina/text/same_tokens.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/vision/processor.hpp>

namespace lamina::serve {

/// What the programs need from a model directory besides the weights.
struct ModelFiles {
  text::Tokenizer tokenizer;
  vision::Processor processor;
  const Family* family = nullptr;
  std::vector<int> eos;       ///< ids that end an answer
  VisionTokens pads;          ///< ids of the layout's image_pad and video_pad; -1: the model reads none
  int tokens_per_second = 0;  ///< config.json's, of videos
  text::PromptTemplate chat_template;
  GenerationDefaults defaults;
  nlohmann::ordered_json tokenizer_config = {};  ///< the file of that name; {} without one
  std::vector<std::string> notes;                ///< for the log of the start

  /// Reads tokenizer, processor, config.json's model_type and generation_config.json. `tokenizer_dir` may differ.
  /// chat_template: as --chat-template gives it; empty: the folder's own, or else the one that the family released.
  static ModelFiles load(const std::filesystem::path& model_dir, const std::filesystem::path& tokenizer_dir = {},
                         const std::string& chat_template = {});

 private:
  void read_template(const std::filesystem::path& folder, const std::string& given);
};

namespace detail {

/// The types of what transformers reads there, and of which nothing depends here: a file that it could not read is
/// damaged.
inline void check_tokenizer_config(const io::FieldReader<nlohmann::ordered_json, io::FileErrors>& fields) {
  fields.maybe_text("tokenizer_class");
  fields.maybe_number("model_max_length");
  if (fields.has("added_tokens_decoder")) fields.object("added_tokens_decoder");
}

}  // namespace detail

inline ModelFiles ModelFiles::load(const std::filesystem::path& model_dir, const std::filesystem::path& tokenizer_dir,
                                   const std::string& chat_template) {
  const auto config = ModelConfig::load(model_dir);
  ModelFiles files{.tokenizer = text::Tokenizer::load(tokenizer_dir.empty() ? model_dir : tokenizer_dir,
                                                      config.family->chat.control_tokens),
                   .processor = vision::Processor::load(model_dir, config.family->processor),
                   .family = config.family,
                   .eos = {},
                   .pads = {},
                   .tokens_per_second = config.tokens_per_second,
                   .chat_template = {},
                   .defaults = {},
                   .tokenizer_config = {},
                   .notes = {}};
  const ChatFormat& chat = config.family->chat;
  const auto tokenizer_config = (tokenizer_dir.empty() ? model_dir : tokenizer_dir) / "tokenizer_config.json";
  files.tokenizer_config = std::filesystem::exists(tokenizer_config)
                               ? io::read_json_object<nlohmann::ordered_json>(tokenizer_config)
                               : nlohmann::ordered_json::object();
  detail::check_tokenizer_config({files.tokenizer_config, tokenizer_config.string()});
  files.read_template(tokenizer_dir.empty() ? model_dir : tokenizer_dir, chat_template);
  std::string eos_file = (model_dir / "config.json").string();
  if (const auto path = model_dir / "generation_config.json"; std::filesystem::exists(path)) {
    const auto generation = io::read_json_object<nlohmann::json>(path);
    files.defaults.read(generation, path.string());
    files.eos = io::JsonFields(generation, path.string()).integer_or_list("eos_token_id");
    if (!files.eos.empty()) eos_file = path.string();
  }
  if (files.eos.empty()) files.eos = config.eos_token_id;
  for (const int id : files.eos) require_token(config.text_config.vocab_size, id, "eos_token_id", eos_file);
  files.processor.require_patches_of(config.vision_config, model_dir);
  text::require_same_tokens(config, files.tokenizer, model_dir);
  if (const auto end = files.tokenizer.id_of(chat.turn_end); end && files.eos.empty()) files.eos.push_back(*end);
  if (files.eos.empty())
    fail(model_dir.string(), ": no eos_token_id in generation_config.json and config.json, and the tokenizer has no ",
         chat.turn_end);
  if (chat.image_pad.empty()) return files;
  const auto pad = files.tokenizer.id_of(chat.image_pad);
  if (!pad)
    fail(model_dir.string(), ": the tokenizer has no ", chat.image_pad, " token: is it a vision-language model?");
  files.pads = {*pad, chat.video_pad.empty() ? -1 : files.tokenizer.id_of(chat.video_pad).value_or(-1)};
  return files;
}

inline void ModelFiles::read_template(const std::filesystem::path& folder, const std::string& given) {
  const auto compiled = [&](const ChatTemplate& found) {
    return text::PromptTemplate(found.source, found.text, family->chat, special_tokens_of(tokenizer_config));
  };
  if (!given.empty()) {
    chat_template = compiled(given_chat_template(given));
    return;
  }
  const auto found = find_chat_templates(folder);
  if (found.empty()) {
    chat_template = text::PromptTemplate::released(family->chat);
    return notes.push_back(cat(folder.string(), ": has no chat template; ", chat_template.source(), " is used"));
  }
  chat_template = compiled(found.front());
  for (const auto& other : found)
    if (!same_template(other.text, found.front().text))
      notes.push_back(cat(other.source, ": its chat template is not used, that of ", found.front().source,
                          " comes first, as in transformers"));
}

}  // namespace lamina::serve
