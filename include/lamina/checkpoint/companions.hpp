#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>

/// The small files next to a model's weights, which programs copy into their output.
namespace lamina::checkpoint {

/// Error if one of a model's tokenizer, processor and generation files is cut off, empty, no JSON object or a git-lfs
/// pointer: the folder that it is copied to could not be loaded. A file that is missing is not an error here.
inline void require_whole_companions(const std::filesystem::path& model) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
                           "vocab.json", "chat_template.json", "preprocessor_config.json",
                           "video_preprocessor_config.json", "processor_config.json", "generation_config.json"}) {
    const std::filesystem::path path = model / name;
    if (!std::filesystem::exists(path)) continue;
    const std::string text = io::read_text(path);
    if (text.empty()) fail(path.string(), ": is empty: is the download complete?");
    const auto json = io::try_parse_json<nlohmann::json>(text);
    if (json.is_discarded()) fail(path.string(), ": is not valid JSON: is the download complete?");
    if (!json.is_object()) fail(path.string(), ": is JSON ", json.type_name(), ", wanted an object");
  }
  for (const char* name : {"merges.txt", "chat_template.jinja"}) {
    const std::filesystem::path path = model / name;
    if (std::filesystem::exists(path) && io::read_text(path).empty())
      fail(path.string(), ": is empty: is the download complete?");
  }
}

}  // namespace lamina::checkpoint
