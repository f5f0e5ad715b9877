#pragma once
#include <lamina/train/arguments/parse.hpp>

#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/catch.hpp"

/// The example's file, and what the trainer makes of words after it.
namespace lamina::test::arguments {

using train::Arguments, train::parse_arguments;

inline const std::string example = LAMINA_SOURCE_DIR "/examples/configs/qwen3_vl_lora_sft.yaml";

inline Arguments parse(std::vector<std::string> words) { return parse_arguments(words); }
inline std::string error_of(std::vector<std::string> words) {
  try {
    parse(std::move(words));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
inline std::string error_with(const std::string& word) { return error_of({example, word}); }
inline bool says(const std::string& text, const std::string& part) {
  INFO(text << " | wanted: " << part);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}
inline std::string file_of(const std::string& name, const std::string& text) {
  const auto path = std::filesystem::temp_directory_path() / ("lamina-" + std::to_string(::getpid()) + name);
  std::ofstream(path) << text;
  return path.string();
}

}  // namespace lamina::test::arguments
