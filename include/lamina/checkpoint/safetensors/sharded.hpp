#pragma once
#include <map>
#include <set>

#include <lamina/checkpoint/safetensors/header.hpp>

/// model.safetensors.index.json and its shards.
namespace lamina::checkpoint {

namespace detail {

/// The index's weight_map: tensor -> file name.
inline std::map<std::string, std::string> read_weight_map(const std::filesystem::path& index) {
  const std::string subject = index.string();
  const auto json = io::parse_json<nlohmann::json>(io::read_text(index), {.subject = subject, .depth = 8});
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    fail(subject, ": has no weight_map object: is this an index of safetensors shards?");
  std::map<std::string, std::string> map;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    if (!file.is_string()) fail(subject, ": weight_map ", tensor, " is ", file.dump(), ", wanted a file name");
    const auto name = file.get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos || name == "..")
      fail(subject, ": weight_map ", tensor, " names ", file.dump(), ", wanted a file of the same folder");
    map[tensor] = name;
  }
  if (map.empty()) fail(subject, ": its weight_map is empty");
  return map;
}

/// Every tensor of a shard is listed for it, and every listed one is there.
inline void check_shard(const TensorFile& shard, const std::map<std::string, std::string>& weight_map,
                        const std::filesystem::path& index) {
  const std::string name = shard.path().filename().string();
  std::set<std::string_view> held;
  for (const TensorEntry& e : shard.entries()) {
    held.insert(e.info.name);
    const auto listed = weight_map.find(e.info.name);
    if (listed == weight_map.end())
      fail(index.string(), ": does not list tensor ", e.info.name, " that ", name, " holds: is the index an old one?");
    if (listed->second != name)
      fail(index.string(), ": says that tensor ", e.info.name, " is in ", listed->second, ", but ", name, " holds it");
  }
  for (const auto& [tensor, file] : weight_map)
    if (file == name && !held.contains(tensor))
      fail(index.string(), ": says that tensor ", tensor, " is in ", name, ", which does not hold it");
}

/// The file to open for a folder: what Hugging Face's loaders look for, in their order.
inline std::filesystem::path weights_of(const std::filesystem::path& dir) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors"})
    if (std::filesystem::exists(dir / name)) return dir / name;
  for (const auto& entry : std::filesystem::directory_iterator(dir))
    if (const std::string name = entry.path().filename().string();
        name.starts_with("model-") && name.ends_with(".safetensors"))
      fail(dir.string(), ": holds ", name, " but no model.safetensors.index.json that says which shards there are: is ",
           "the download complete?");
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin"})
    if (std::filesystem::exists(dir / name))
      fail(dir.string(), ": holds ", name, " only: pickled weights are not read, save the model as safetensors");
  fail(dir.string(), ": holds no model.safetensors and no model.safetensors.index.json: is this a model directory?");
}

}  // namespace detail

inline Checkpoint Checkpoint::open(const std::filesystem::path& dir_or_file, const NameRules& names) {
  Checkpoint out;
  out.names_ = names;
  out.path_ = dir_or_file;
  std::error_code ignored;
  if (!std::filesystem::exists(dir_or_file, ignored)) fail(dir_or_file.string(), ": no such file or folder");
  const bool is_folder = std::filesystem::is_directory(dir_or_file);
  const std::filesystem::path file = is_folder ? detail::weights_of(dir_or_file) : dir_or_file;
  if (file.extension() != ".json") {
    out.add(TensorFile::open(file));
    return out;
  }
  const auto weight_map = detail::read_weight_map(file);
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map) shards.insert(shard);
  for (const std::string& shard : shards) {
    const std::filesystem::path path = file.parent_path() / shard;
    if (!std::filesystem::exists(path))
      fail(path.string(), ": missing, but ", file.filename().string(), " names it: is the download complete?");
    TensorFile opened = TensorFile::open(path);
    detail::check_shard(opened, weight_map, file);
    out.add(std::move(opened));
  }
  return out;
}

}  // namespace lamina::checkpoint
