#pragma once
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/checkpoint/config.hpp>
#include <lamina/checkpoint/generation_fields.hpp>
#include <lamina/core/error.hpp>
#include <lamina/text/chat_template.hpp>
#include <lamina/text/tokenizer.hpp>
#include <lamina/vision/processor.hpp>

namespace lamina::serve {

/// Sampling that a checkpoint recommends; what is unset there stays unset here.
struct GenerationDefaults {
  std::optional<double> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int> top_k, max_new_tokens;

  /// Takes the fields that `config`, a generation_config.json, has. Error where one is not a number.
  void read(const nlohmann::ordered_json& config, const std::string& source) {
    checkpoint::check_fields({nlohmann::json(config), source}, checkpoint::generation_fields);
    read_field(config, source, "temperature", temperature);
    read_field(config, source, "top_p", top_p);
    read_field(config, source, "min_p", min_p);
    read_field(config, source, "repetition_penalty", repetition_penalty);
    read_field(config, source, "presence_penalty", presence_penalty);
    read_field(config, source, "frequency_penalty", frequency_penalty);
    read_field(config, source, "top_k", top_k);
    read_field(config, source, "max_new_tokens", max_new_tokens);
  }

 private:
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

/// What the programs need from a model directory beside the weights.
struct ModelFiles {
  text::Tokenizer tokenizer;
  vision::Processor processor;
  text::Family family;
  std::vector<int> eos;  ///< ids that end an answer
  int image_pad = 0;     ///< id of <|image_pad|>
  GenerationDefaults defaults;

  /// Reads tokenizer, processor, config.json's model_type and generation_config.json. `tokenizer_dir` may differ.
  static ModelFiles load(const std::filesystem::path& model_dir, const std::filesystem::path& tokenizer_dir = {});
};

namespace detail {

inline nlohmann::ordered_json read_json_object(const std::filesystem::path& path) {
  auto json = checkpoint::try_parse_json<nlohmann::ordered_json>(checkpoint::read_text(path));
  if (!json.is_object()) fail(path.string(), ": is not a JSON object");
  return json;
}

/// eos_token_id is a number or a list of numbers.
inline void read_eos(const nlohmann::ordered_json& config, std::vector<int>& eos) {
  const auto it = config.find("eos_token_id");
  if (it == config.end()) return;
  for (const auto& id : it->is_array() ? *it : nlohmann::ordered_json::array({*it}))
    if (id.is_number_integer() && std::find(eos.begin(), eos.end(), id.get<int>()) == eos.end())
      eos.push_back(id.get<int>());
}

}  // namespace detail

inline ModelFiles ModelFiles::load(const std::filesystem::path& model_dir, const std::filesystem::path& tokenizer_dir) {
  const auto config = checkpoint::ModelConfig::load(model_dir);
  ModelFiles files{.tokenizer = text::Tokenizer::load(tokenizer_dir.empty() ? model_dir : tokenizer_dir),
                   .processor = vision::Processor::load(model_dir),
                   .family = config.model_type == "qwen3_vl" ? text::Family::qwen3_vl : text::Family::qwen2_5_vl,
                   .eos = {},
                   .image_pad = 0,
                   .defaults = {}};
  if (const auto path = model_dir / "generation_config.json"; std::filesystem::exists(path)) {
    const auto generation = detail::read_json_object(path);
    files.defaults.read(generation, path.string());
    detail::read_eos(generation, files.eos);
  }
  if (files.eos.empty()) files.eos = config.eos_token_id;
  files.processor.require_patches_of(config.vision_config, model_dir);
  if (const auto end = files.tokenizer.id_of("<|im_end|>"); end && files.eos.empty()) files.eos.push_back(*end);
  if (files.eos.empty())
    fail(model_dir.string(),
         ": no eos_token_id in generation_config.json and config.json, and the tokenizer has no <|im_end|>");
  const auto pad = files.tokenizer.id_of(text::image_pad);
  if (!pad)
    fail(model_dir.string(), ": the tokenizer has no ", text::image_pad, " token: is it a vision-language model?");
  files.image_pad = *pad;
  return files;
}

}  // namespace lamina::serve
