#pragma once
#include <lamina/core/error.hpp>
#include <lamina/io/json/file.hpp>

#include <filesystem>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

/// Records as lamina-train and LLaMA-Factory read them.
namespace images {

inline void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  if (!out.flush()) lamina::fail(path.string(), ": cannot be written: is the folder writable and the disk not full?");
}

/// One record in ShareGPT's form with OpenAI's tags, as mllm_demo has it.
inline nlohmann::ordered_json record(const std::string& question, const std::string& answer, const std::string& image) {
  const auto turn = [](const char* role, const std::string& content) {
    return nlohmann::ordered_json{{"content", content}, {"role", role}};
  };
  return {{"messages", {turn("user", "<image>" + question), turn("assistant", answer)}},
          {"images", nlohmann::ordered_json::array({image})}};
}

/// Enters a dataset into OUT/dataset_info.json, leaving its other entries as they are.
inline void enter(const std::filesystem::path& out, const std::string& name, const std::string& file) {
  const std::filesystem::path path = out / "dataset_info.json";
  nlohmann::ordered_json registry = nlohmann::ordered_json::object();
  if (std::filesystem::exists(path)) registry = lamina::io::read_json_object<nlohmann::ordered_json>(path);
  registry[name] = {
      {"file_name", file},
      {"formatting", "sharegpt"},
      {"columns", {{"messages", "messages"}, {"images", "images"}}},
      {"tags",
       {{"role_tag", "role"}, {"content_tag", "content"}, {"user_tag", "user"}, {"assistant_tag", "assistant"}}}};
  write_text(path, registry.dump(2) + "\n");
}

}  // namespace images
