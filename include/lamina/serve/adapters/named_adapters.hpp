#pragma once
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <lamina/checkpoint/adapter/layers.hpp>
#include <lamina/core/log.hpp>
#include <lamina/engine/engine.hpp>
#include <lamina/hub/names.hpp>
#include <lamina/serve/adapters/adapter_module.hpp>
#include <lamina/serve/openai/api_error.hpp>

namespace lamina::serve {

/// The adapters that requests may name. Loading and unloading may happen at any time, from any thread: requests that
/// have begun keep the adapter that they have.
class NamedAdapters {
 public:
  struct Entry {
    AdapterModule module;
    std::shared_ptr<const engine::LoadedAdapter> adapter;
    std::int64_t created = 0;  ///< seconds since the epoch
  };

  /// The engine outlives it. served_names: those of the model itself.
  NamedAdapters(const engine::Engine& engine, const checkpoint::NameRules& rules,
                const std::vector<std::string>& served_names)
      : engine_(engine), rules_(rules), served_names_(served_names) {}

  /// Null if there is none of this name.
  std::shared_ptr<const engine::LoadedAdapter> find(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const std::size_t place = place_of(name);
    return place < entries_.size() ? entries_[place].adapter : nullptr;
  }
  /// In the order in which they were loaded.
  std::vector<Entry> list() const {
    const std::lock_guard lock(mutex_);
    return entries_;
  }

  /// Reads an adapter, checks that it fits the model, and gives it its name. replace: another adapter may have it.
  /// errors  ApiError with the words of vLLM's route
  void load(AdapterModule module, bool replace = false);
  /// errors  ApiError if there is none of this name
  void unload(const std::string& name);

 private:
  /// Its place among the entries; their number if there is none of this name.
  std::size_t place_of(const std::string& name) const {
    const auto has_name = [&](const Entry& entry) { return entry.module.name == name; };
    return static_cast<std::size_t>(std::find_if(entries_.begin(), entries_.end(), has_name) - entries_.begin());
  }
  void check_name(const std::string& name, bool replace) const;
  std::shared_ptr<const engine::LoadedAdapter> read(const AdapterModule& module) const;

  const engine::Engine& engine_;
  const checkpoint::NameRules& rules_;
  const std::vector<std::string>& served_names_;
  mutable std::mutex mutex_;
  std::mutex loading_;  ///< one is read at a time: each takes memory
  std::vector<Entry> entries_;
};

inline void NamedAdapters::load(AdapterModule module, bool replace) {
  const std::lock_guard one_at_a_time(loading_);
  check_name(module.name, replace);
  const bool is_base =
      std::find(served_names_.begin(), served_names_.end(), module.base_model_name) != served_names_.end();
  if (!is_base) module.base_model_name = served_names_.front();
  Entry entry{std::move(module), nullptr, std::time(nullptr)};
  entry.adapter = read(entry.module);
  log_info("adapter ", printable(entry.module.name), " (", entry.module.path.string(), "): ", entry.adapter->modules,
           " linear layers are changed", entry.adapter->encodes_images ? ", some of them see images" : "");
  const std::lock_guard lock(mutex_);
  const std::size_t place = place_of(entry.module.name);
  if (place == entries_.size()) entries_.emplace_back();
  entries_[place] = std::move(entry);
}

inline void NamedAdapters::check_name(const std::string& name, bool replace) const {
  const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (name.size() > 256 || std::any_of(name.begin(), name.end(), is_control))
    throw ApiError(400, "InvalidUserInput",
                   "The lora adapter's name '" + clipped(name) + "' has " + std::to_string(name.size()) +
                       " bytes; wanted at most 256, none of them a control character");
  if (std::find(served_names_.begin(), served_names_.end(), name) != served_names_.end())
    throw ApiError(400, "InvalidUserInput",
                   "'" + clipped(name) + "' is the model's own name: give the adapter another");
  if (!replace && find(name))
    throw ApiError(400, "InvalidUserInput",
                   "The lora adapter '" + clipped(name) +
                       "' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to "
                       "True.");
}

inline std::shared_ptr<const engine::LoadedAdapter> NamedAdapters::read(const AdapterModule& module) const {
  if (engine_.sizes().adapter_slots == 0)
    throw ApiError(400, "BadRequestError", "adapters are off: start the server with --enable-lora");
  std::error_code unreadable;  // a name that is too long, a folder that may not be entered
  if (!std::filesystem::exists(module.path / "adapter_config.json", unreadable)) {
    const std::string path = clipped(module.path.string());
    if (hub::is_on_hub(module.path))
      throw ApiError(404, "NotFoundError",
                     "No adapter found for " + path + ": wanted a directory, since a running server fetches nothing; " +
                         "start it with --lora-modules NAME=" + path + ", or run `lamina-download " + path +
                         "` first and give the directory that it prints");
    throw ApiError(404, "NotFoundError", "No adapter found for " + path + ": it holds no adapter_config.json");
  }
  try {
    return engine_.prepare_adapter(module.name, checkpoint::read_low_rank_adapter(module.path, rules_));
  } catch (const Error& e) {
    throw ApiError(400, "BadRequestError", clipped("adapter " + clipped(module.name) + ": " + e.what(), 600));
  }
}

inline void NamedAdapters::unload(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const std::size_t place = place_of(name);
  if (place == entries_.size())
    throw ApiError(404, "NotFoundError", "The lora adapter '" + clipped(name) + "' cannot be found.");
  entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(place));
  log_info("adapter ", printable(name), " is unloaded; requests that have begun keep it");
}

}  // namespace lamina::serve
