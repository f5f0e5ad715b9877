#pragma once
#include <lamina/checkpoint/json.hpp>
#include <lamina/core/error.hpp>
#include <lamina/data/suggest.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace lamina::data {

/// The column of a record that plays each part; nothing: unused. Names and defaults are those of dataset_info.json.
struct Columns {
  using Name = std::optional<std::string>;
  Name prompt = "instruction", query = "input", response = "output", history;  // alpaca
  Name messages = "conversations";                                             // sharegpt, openai
  Name system, tools, images, videos, audios, chosen, rejected, kto_tag;
  bool given = false;  ///< dataset_info.json names the columns: each of them must then occur
};

/// The keys and role names of one message in the sharegpt and openai layouts; nothing: that role does not occur.
struct Tags {
  using Name = std::optional<std::string>;
  Name role_tag = "from", content_tag = "value", user_tag = "human", assistant_tag = "gpt";
  Name observation_tag = "observation", function_tag = "function_call", system_tag = "system";
};

enum class Formatting { alpaca, sharegpt, openai };

/// One entry of dataset_info.json whose source is a file or a folder of files.
struct DatasetInfo {
  std::string name;
  std::string file_name;  ///< under dataset_dir
  Formatting formatting = Formatting::alpaca;
  bool ranking = false;
  std::string subset, split = "train", folder;  ///< selectors of hub data sets; without effect on files
  std::optional<std::int64_t> num_samples;
  Columns columns;
  Tags tags;
};

namespace detail {

using Json = nlohmann::ordered_json;

/// Reads the fields of one registry entry; every message names the entry.
class EntryReader {
 public:
  EntryReader(std::string subject, const Json& entry) : subject_(std::move(subject)), entry_(entry) {
    if (!entry.is_object()) fail(subject_, ": an object is wanted, got ", entry.type_name());
  }
  std::optional<std::string> text(const char* key) const {
    const auto found = entry_.find(key);
    if (found == entry_.end() || found->is_null()) return std::nullopt;
    if (!found->is_string()) fail(subject_, ": \"", key, "\" is ", found->dump(), ", text is wanted");
    return found->get<std::string>();
  }
  bool flag(const char* key) const {
    const auto found = entry_.find(key);
    if (found == entry_.end() || found->is_null()) return false;
    if (!found->is_boolean()) fail(subject_, ": \"", key, "\" is ", found->dump(), ", true or false is wanted");
    return found->get<bool>();
  }
  std::optional<std::int64_t> count(const char* key) const {
    const auto found = entry_.find(key);
    if (found == entry_.end() || found->is_null()) return std::nullopt;
    if (!found->is_number_integer() || *found < 1) {
      fail(subject_, ": \"", key, "\" is ", found->dump(), ", a positive whole number is wanted");
    }
    return found->get<std::int64_t>();
  }
  /// A key that is nearly a known one is a misspelling, and ignoring it would read the data in another way. Keys unlike
  /// any known one (a description, an author) are the user's own and are left alone, as LLaMA-Factory does.
  void known(const std::vector<std::string>& keys) const {
    for (const auto& item : entry_.items()) {
      if (std::find(keys.begin(), keys.end(), item.key()) != keys.end()) continue;
      const std::string suggestion = did_you_mean(item.key(), keys);
      if (!suggestion.empty()) fail(subject_, ": unknown key \"", item.key(), "\"", suggestion);
    }
  }

 private:
  std::string subject_;
  const Json& entry_;
};

/// Once a columns object is present, a key that it lacks means "unused", not its default: LLaMA-Factory's rule.
inline Columns read_columns(const std::string& subject, const Json& object) {
  const EntryReader read(subject, object);
  read.known({"prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios",
              "chosen", "rejected", "kto_tag"});
  return {.prompt = read.text("prompt"),
          .query = read.text("query"),
          .response = read.text("response"),
          .history = read.text("history"),
          .messages = read.text("messages"),
          .system = read.text("system"),
          .tools = read.text("tools"),
          .images = read.text("images"),
          .videos = read.text("videos"),
          .audios = read.text("audios"),
          .chosen = read.text("chosen"),
          .rejected = read.text("rejected"),
          .kto_tag = read.text("kto_tag"),
          .given = true};
}

/// The same rule as for columns.
inline Tags read_tags(const std::string& subject, const Json& object) {
  const EntryReader read(subject, object);
  read.known({"role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"});
  return {.role_tag = read.text("role_tag"),
          .content_tag = read.text("content_tag"),
          .user_tag = read.text("user_tag"),
          .assistant_tag = read.text("assistant_tag"),
          .observation_tag = read.text("observation_tag"),
          .function_tag = read.text("function_tag"),
          .system_tag = read.text("system_tag")};
}

inline Formatting read_formatting(const std::string& subject, const std::string& word) {
  if (word == "alpaca") return Formatting::alpaca;
  if (word == "sharegpt") return Formatting::sharegpt;
  if (word == "openai") return Formatting::openai;
  fail(subject, ": \"formatting\" is \"", word, "\"", did_you_mean(word, {"alpaca", "sharegpt", "openai"}),
       "; alpaca, sharegpt and openai are known");
}

/// Hub, script and cloud sources win over file_name in LLaMA-Factory, so an entry with one of them is refused.
inline void refuse_remote(const std::string& subject, const EntryReader& read, const std::string& dir) {
  for (const char* key : {"hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name"}) {
    if (const auto source = read.text(key)) {
      fail(subject, ": its source is ", key, " ", *source,
           ", and nothing is fetched while training: download its json or jsonl files to ", dir, " and name them with",
           " \"file_name\" instead of \"", key, "\"");
    }
  }
}

inline DatasetInfo read_entry(const std::string& registry, const std::string& dir, const std::string& name,
                              const Json& entry) {
  const std::string subject = cat(registry, ": data set ", name);
  const EntryReader read(subject, entry);
  read.known({"hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name", "formatting",
              "ranking", "subset", "split", "folder", "num_samples", "columns", "tags"});
  refuse_remote(subject, read, dir);
  DatasetInfo info;
  info.name = name;
  const auto file_name = read.text("file_name");
  if (!file_name || file_name->empty()) fail(subject, ": \"file_name\" is missing: which file of ", dir, " is it?");
  info.file_name = *file_name;
  info.formatting = read_formatting(subject, read.text("formatting").value_or("alpaca"));
  info.ranking = read.flag("ranking");
  info.subset = read.text("subset").value_or("");
  info.split = read.text("split").value_or("train");
  info.folder = read.text("folder").value_or("");
  info.num_samples = read.count("num_samples");
  if (entry.contains("columns")) info.columns = read_columns(subject + " columns", entry["columns"]);
  if (entry.contains("tags")) info.tags = read_tags(subject + " tags", entry["tags"]);
  return info;
}

}  // namespace detail

/// dataset_info.json: the names that `dataset` and `eval_dataset` may hold, and how each file is read.
/// source  LLaMA-Factory, data/parser.py
class Registry {
 public:
  /// Reads dataset_dir/dataset_info.json. Entries are checked when they are asked for.
  static Registry load(const std::filesystem::path& dataset_dir) {
    const std::string dir = dataset_dir.string();
    if (dir == "ONLINE" || dir.starts_with("REMOTE:")) {
      fail("dataset_dir: ", dir, " names a hub, and nothing is fetched while training: download the files and name ",
           "their folder");
    }
    Registry registry;
    registry.dir_ = dataset_dir;
    registry.path_ = dataset_dir / "dataset_info.json";
    std::ifstream in(registry.path_, std::ios::binary);
    if (!in) {
      fail(registry.path_.string(), ": cannot be opened: dataset_dir (now ", dir,
           ") must be the folder that holds dataset_info.json");
    }
    try {
      registry.entries_ = checkpoint::parse_json<detail::Json>(in);
    } catch (const detail::Json::exception& error) {
      fail(registry.path_.string(), ": not valid JSON: ", error.what());
    }
    if (!registry.entries_.is_object()) {
      fail(registry.path_.string(), ": an object of data sets by name is wanted, got ", registry.entries_.type_name());
    }
    return registry;
  }

  /// The entry of that name; an unknown name is an error that suggests the nearest and lists what there is.
  DatasetInfo find(const std::string& name) const {
    const auto entry = entries_.find(name);
    if (entry != entries_.end()) return detail::read_entry(path_.string(), dir_.string(), name, *entry);
    std::vector<std::string> names;
    for (const auto& item : entries_.items()) names.push_back(item.key());
    fail("dataset: ", name, " is not in ", path_.string(), did_you_mean(name, names), "; it has ",
         names.empty() ? "no entry" : listed(names, 20));
  }

  const std::filesystem::path& dir() const { return dir_; }

 private:
  std::filesystem::path dir_, path_;
  detail::Json entries_;
};

}  // namespace lamina::data
