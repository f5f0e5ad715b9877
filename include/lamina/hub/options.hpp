#pragma once
#include <filesystem>
#include <optional>
#include <string>

namespace lamina::hub {

enum class Source { huggingface, modelscope };

/// What a program's keys and flags say about hubs; "" and nothing leave it to the environment.
struct Options {
  std::string revision = {};
  std::string revision_name = "model_revision";  ///< the key or flag itself, for messages
  std::filesystem::path cache_dir = {};          ///< cache_dir, --download-dir
  std::string cache_dir_name = "cache_dir";      ///< the same
  std::string hf_token = {}, ms_token = {};
  std::string hf_token_name = "hf_hub_token", ms_token_name = "ms_hub_token";  ///< for messages; "": not taken
  std::optional<Source> source = {};

  /// The same for another repository, whose default branch is meant.
  Options of_adapters() const {
    Options options = *this;
    options.revision.clear();
    return options;
  }
};

}  // namespace lamina::hub
