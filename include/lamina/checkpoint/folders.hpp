#pragma once
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <lamina/core/log.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>

/// What a user gave for the folder of a model or of an adapter, classified before anything in it is read.
namespace lamina::checkpoint {

namespace detail {

/// "Qwen/Qwen3-VL-2B-Instruct": what a hub calls a model.
inline bool is_hub_name(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == text.size() || text.front() == '.') return false;
  return text.find('/', slash + 1) == std::string::npos && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) || std::string_view("/-_.").find(static_cast<char>(c)) != std::string_view::npos;
         });
}

/// Error unless path is a folder; holds: the file that is looked for in it.
inline void require_folder(const std::filesystem::path& path, const std::string& holds) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return;
  const std::string text = path.string();
  if (std::filesystem::exists(path, ignored)) fail(text, ": is a file, wanted the folder that holds ", holds);
  if (is_hub_name(text))
    fail(text, ": no such folder. If it is the name of a model on a hub, download it first (lamina-download ", text,
         " --local-dir FOLDER) and give the folder");
  fail(text, ": no such folder, wanted one that holds ", holds);
}

/// base_model_name_or_path of an adapter_config.json, for messages; "" if it cannot be read.
inline std::string base_named_by(const std::filesystem::path& adapter_config) {
  try {
    const auto json = io::try_parse_json<nlohmann::json>(io::read_text(adapter_config));
    const auto base = json.is_object() ? json.find("base_model_name_or_path") : json.end();
    return base != json.end() && base->is_string() ? base->get<std::string>() : "";
  } catch (const Error&) {
    return "";
  }
}

}  // namespace detail

/// Error, with what to do, unless dir is a folder with a config.json: a hub's name, a file, an adapter's folder, a
/// hub's cache and a download that has not begun each have words of their own.
inline void require_model_folder(const std::filesystem::path& dir) {
  detail::require_folder(dir, "config.json");
  if (std::filesystem::exists(dir / "config.json")) return;
  if (std::filesystem::exists(dir / "adapter_config.json")) {
    const std::string base = detail::base_named_by(dir / "adapter_config.json");
    fail(dir.string(), ": is the folder of an adapter (it holds adapter_config.json), not a model: give its base model",
         base.empty() ? "" : cat(" (", base, ")"),
         " as the model and this folder as the adapter (adapter_name_or_path, --adapter, --lora-modules), or merge "
         "them with lamina-merge and give the merged folder");
  }
  if (const auto snapshots = dir / "snapshots"; std::filesystem::is_directory(snapshots))
    fail(dir.string(), ": is a hub's cache: give one of the folders in ", snapshots.string());
  fail((dir / "config.json").string(), ": no such file: is ", dir.string(),
       " a model directory, and its download complete?");
}

/// The same for the folder of an adapter.
inline void require_adapter_folder(const std::filesystem::path& dir) {
  detail::require_folder(dir, "adapter_config.json");
  if (std::filesystem::exists(dir / "adapter_config.json")) return;
  fail((dir / "adapter_config.json").string(), ": no such file: is ", dir.string(), " the folder of an adapter?",
       std::filesystem::exists(dir / "config.json") ? " It holds config.json: a whole model goes in as the model" : "");
}

namespace detail {

/// Files of tensors that trainers keep for themselves: none is a weight of a model.
inline bool is_training_state(std::string_view name) {
  for (const std::string_view begin :
       {"optimizer", "scheduler", "scaler", "rng_state", "random_states", "training_args"})
    if (name.starts_with(begin)) return true;
  return false;
}

inline bool may_hold_weights(const std::filesystem::path& file) {
  constexpr std::string_view extensions[] = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".npz"};
  return std::find(std::begin(extensions), std::end(extensions), file.extension().string()) != std::end(extensions) &&
         !is_training_state(file.filename().string());
}

}  // namespace detail

/// Error on a file next to an adapter that may hold trained weights of its own (non_lora_state_dict.bin of a trainer
/// that also trains the vision tower, a whole model): PEFT and vLLM load the adapter and pass over the rest, which
/// would be half of what was trained. The adapter's own older copy, adapter_model.bin, is passed over as in PEFT, with
/// a note.
inline void refuse_weights_beside_adapter(const std::filesystem::path& dir) {
  std::vector<std::string> strays;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    if (name == "adapter_model.bin")
      note(cat(entry.path().string(), " is not read: adapter_model.safetensors next to it is"));
    else if (name != "adapter_model.safetensors" && !entry.is_directory() && detail::may_hold_weights(name))
      strays.push_back(name);
  }
  if (strays.empty()) return;
  std::sort(strays.begin(), strays.end());
  std::string list;
  for (const std::string& name : strays) list += (list.empty() ? "" : ", ") + name;
  fail(dir.string(), ": next to the adapter there is ", list,
       ", which may hold other trained weights; only adapter_model.safetensors would be loaded. Merge it into the base "
       "model with the program that wrote it; if it is no part of the model, move it out of the folder");
}

}  // namespace lamina::checkpoint
