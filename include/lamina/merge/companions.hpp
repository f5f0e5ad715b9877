#pragma once
#include <algorithm>
#include <fstream>
#include <optional>

#include <lamina/checkpoint/safetensors/header.hpp>
#include <lamina/checkpoint/torch_dtype.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/json/file.hpp>
#include <lamina/merge/modelfile.hpp>

/// The files next to the weights that make a model directory whole.
namespace lamina::merge {

/// What a tokenizer, a processor and a chat template are made of, over the years; copied as they are.
inline constexpr std::string_view companion_names[] = {"tokenizer.json",
                                                       "vocab.json",
                                                       "merges.txt",
                                                       "added_tokens.json",
                                                       "special_tokens_map.json",
                                                       "chat_template.json",
                                                       "chat_template.jinja",
                                                       "preprocessor_config.json",
                                                       "video_preprocessor_config.json",
                                                       "processor_config.json",
                                                       "LICENSE"};

namespace detail {

/// As Hugging Face's libraries write it.
inline void write_json(const std::filesystem::path& path, const nlohmann::ordered_json& json) {
  io::write_text(path, json.dump(2, ' ', true) + "\n");
}

/// Sets the element type wherever the config names one; at the top if it names none.
inline void set_dtype(nlohmann::ordered_json& config, DType dtype) {
  const std::string name(checkpoint::torch_name_of(dtype));
  for (const char* key : {"torch_dtype", "dtype"})
    for (auto* object : {&config, config.contains("text_config") ? &config["text_config"] : &config,
                         config.contains("vision_config") ? &config["vision_config"] : &config})
      if (object->contains(key)) (*object)[key] = name;
  if (!config.contains("torch_dtype") && !config.contains("dtype")) config["torch_dtype"] = name;
}

/// Sampling values without do_sample are refused by transformers when it saves: as in LLaMA-Factory, they switch it on.
inline void fix_sampling(nlohmann::ordered_json& generation) {
  if (!generation.is_object()) return;
  const auto find = generation.find("do_sample");
  if (find != generation.end() && *find == true) return;
  for (const char* key : {"temperature", "top_p", "typical_p"}) {
    const auto value = generation.find(key);
    if (value != generation.end() && value->is_number() && *value != 1.0) generation["do_sample"] = true;
  }
}

}  // namespace detail

/// Copies the tokenizer, processor and generation settings of a model into another folder and writes its config.json
/// with the element type of its weights, and a Modelfile. Gives the names written; config.json is among them.
/// tokenizer: the folder of the tokenizer's files, if it is not the model's.
inline std::vector<std::string> write_companions(const std::filesystem::path& model, const std::filesystem::path& out,
                                                 DType dtype, std::string_view template_name,
                                                 const std::filesystem::path& tokenizer = {}) {
  std::vector<std::string> names;
  const auto source = [&](std::string_view name) {
    constexpr std::string_view of_tokenizer[] = {"tokenizer.json", "tokenizer_config.json", "added_tokens.json",
                                                 "special_tokens_map.json"};
    const bool own = !tokenizer.empty() && std::ranges::find(of_tokenizer, name) != std::end(of_tokenizer) &&
                     std::filesystem::is_regular_file(tokenizer / name);
    return (own ? tokenizer : model) / name;
  };
  for (const std::string_view name : companion_names)
    if (std::filesystem::is_regular_file(source(name))) {
      io::write_text(out / name, io::read_text(source(name)));
      names.emplace_back(name);
    }
  const auto edit = [&](const std::string& name, auto change) {
    if (!std::filesystem::exists(source(name))) return;
    nlohmann::ordered_json json = io::read_json_object<nlohmann::ordered_json>(source(name));
    change(json);
    detail::write_json(out / name, json);
    names.push_back(name);
  };
  edit("config.json", [&](auto& json) { detail::set_dtype(json, dtype); });
  edit("generation_config.json", [&](auto& json) { detail::fix_sampling(json); });
  edit("tokenizer_config.json", [&](auto& json) { json["padding_side"] = "left"; });
  io::write_text(out / "Modelfile", modelfile_text(template_name));
  names.push_back("Modelfile");
  return names;
}

/// task: hub_task of the family. Characters that would break the YAML front matter become a quoted string's.
inline std::string model_card(const std::filesystem::path& model, std::span<const std::filesystem::path> adapters,
                              const std::filesystem::path& out, DType dtype, std::string_view template_name,
                              std::string_view task) {
  const auto quoted = [](const std::filesystem::path& p) { return nlohmann::json(p.string()).dump(); };
  std::string text = "---\nlibrary_name: transformers\nlicense: other\nbase_model: " + quoted(model) +
                     "\ntags:\n- lora\n- merged\npipeline_tag: " + std::string(task) + "\n---\n\n# " +
                     out.filename().string() + "\n\n" + quoted(model);
  text += adapters.empty() ? ", saved again.\n" : " with these adapters merged into its weights:\n\n";
  for (const auto& adapter : adapters) text += "- " + quoted(adapter) + "\n";
  return text + "\nWeights are " + std::string(checkpoint::torch_name_of(dtype)) + "; merged in fp32, rounded once. " +
         "Chat template: " + std::string(template_name) + ".\n";
}

}  // namespace lamina::merge
