#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/checkpoint/generation_fields.hpp>
#include <lamina/core/error.hpp>
#include <lamina/model/config/read.hpp>
#include <lamina/serve/prompt/chat_template_files.hpp>
#include <lamina/text/prompt_template.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/vision/processor.hpp>

namespace lamina::serve {

/// Sampling that a checkpoint recommends; what is unset there stays unset here.
struct GenerationDefaults {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int> top_k, max_new_tokens;

  /// Takes the fields that `config`, a generation_config.json, has. Error if one is not a number.
  void read(const nlohmann::ordered_json& config, const std::string& source) {
    io::check_fields({nlohmann::json(config), source}, checkpoint::generation_fields);
    for_each([&](const char* name, auto& value) { read_field(config, source, name, value); });
  }
  /// The same for what a person typed: Error for a field that is none of these.
  void override_with(const nlohmann::ordered_json& given, const std::string& source) {
    for (const auto& [key, value] : given.items()) {
      std::string names;
      bool known = false;
      for_each([&](const char* name, auto&) {
        known = known || key == name;
        names += (names.empty() ? "" : ", ") + std::string(name);
      });
      if (!known) fail(source, ": has ", key, ", which changes nothing here; wanted ", names);
    }
    read(given, source);
  }

 private:
  template <class F>
  void for_each(const F& f) {
    f("temperature", temperature), f("top_p", top_p), f("min_p", min_p), f("top_k", top_k);
    f("repetition_penalty", repetition_penalty), f("presence_penalty", presence_penalty);
    f("frequency_penalty", frequency_penalty), f("max_new_tokens", max_new_tokens);
  }
  template <class T>
  static void read_field(const nlohmann::ordered_json& config, const std::string& source, const char* name,
                         std::optional<T>& out) {
    const auto it = config.find(name);
    if (it == config.end() || it->is_null()) return;
    if (!it->is_number() || !std::isfinite(it->template get<double>()))
      fail(source, ": ", name, " is ", it->dump(), ", wanted a number");
    out = it->template get<T>();
  }
};

/// What the programs need from a model directory besides the weights.
struct ModelFiles {
  text::Tokenizer tokenizer;
  vision::Processor processor;
  const Family* family = nullptr;
  std::vector<int> eos;  ///< ids that end an answer
  int image_pad = 0;     ///< id of the layout's image_pad
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

/// eos_token_id is a number or a list of numbers.
inline void read_eos(const nlohmann::ordered_json& config, std::vector<int>& eos) {
  const auto it = config.find("eos_token_id");
  if (it == config.end()) return;
  for (const auto& id : it->is_array() ? *it : nlohmann::ordered_json::array({*it}))
    if (id.is_number_integer() && std::find(eos.begin(), eos.end(), id.get<int>()) == eos.end())
      eos.push_back(id.get<int>());
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
                   .image_pad = 0,
                   .chat_template = {},
                   .defaults = {},
                   .tokenizer_config = {},
                   .notes = {}};
  const ChatFormat& chat = config.family->chat;
  const auto tokenizer_config = (tokenizer_dir.empty() ? model_dir : tokenizer_dir) / "tokenizer_config.json";
  files.tokenizer_config = std::filesystem::exists(tokenizer_config)
                               ? io::read_json_object<nlohmann::ordered_json>(tokenizer_config)
                               : nlohmann::ordered_json::object();
  files.read_template(tokenizer_dir.empty() ? model_dir : tokenizer_dir, chat_template);
  if (const auto path = model_dir / "generation_config.json"; std::filesystem::exists(path)) {
    const auto generation = io::read_json_object<nlohmann::ordered_json>(path);
    files.defaults.read(generation, path.filename().string());
    detail::read_eos(generation, files.eos);
  }
  if (files.eos.empty()) files.eos = config.eos_token_id;
  files.processor.require_patches_of(config.vision_config, model_dir);
  if (const auto end = files.tokenizer.id_of(chat.turn_end); end && files.eos.empty()) files.eos.push_back(*end);
  if (files.eos.empty())
    fail(model_dir.string(), ": no eos_token_id in generation_config.json and config.json, and the tokenizer has no ",
         chat.turn_end);
  const auto pad = files.tokenizer.id_of(chat.image_pad);
  if (!pad)
    fail(model_dir.string(), ": the tokenizer has no ", chat.image_pad, " token: is it a vision-language model?");
  files.image_pad = *pad;
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
