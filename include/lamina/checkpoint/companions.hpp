#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include <lamina/io/file.hpp>
#include <lamina/io/json/file.hpp>

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
    if (io::File(path).size() == 0) fail(path.string(), ": is empty: is the download complete?");
    io::read_json_object<nlohmann::json>(path, io::large_json_bytes);
  }
  for (const char* name : {"merges.txt", "chat_template.jinja"}) {
    const std::filesystem::path path = model / name;
    if (std::filesystem::exists(path) && io::read_text(path).empty())
      fail(path.string(), ": is empty: is the download complete?");
  }
}

}  // namespace lamina::checkpoint
