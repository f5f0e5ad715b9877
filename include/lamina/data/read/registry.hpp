#pragma once
#include <lamina/core/error.hpp>
#include <lamina/data/read/hub_dataset.hpp>
#include <lamina/io/json/fields.hpp>
#include <lamina/io/json/file.hpp>
#include <lamina/io/nearest_word.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::data {

/// The column of a record that plays each part; nothing: unused. Names and defaults are those of dataset_info.json.
struct Columns {
  using Name = std::optional<std::string>;
  Name prompt = "instruction", query = "input", response = "output", history;  // alpaca
  Name messages = "conversations";                                             // sharegpt, openai
  Name system, tools, images, videos, audios;
  Name chosen, rejected, kto_tag;  // preference data
  bool given = false;              ///< dataset_info.json names the columns: each of them must then occur
};

/// The keys and role names of one message in the sharegpt and openai layouts; nothing: that role does not occur.
struct Tags {
  using Name = std::optional<std::string>;
  Name role_tag = "from", content_tag = "value", user_tag = "human", assistant_tag = "gpt";
  Name observation_tag = "observation", function_tag = "function_call", system_tag = "system";
};

enum class Formatting { alpaca, sharegpt, openai };

/// One entry of dataset_info.json whose source is a file, a folder of files, or files of a hub's repository.
struct DatasetInfo {
  std::string name;
  std::string file_name;          ///< under dataset_dir
  std::optional<HubDataset> hub;  ///< instead of file_name
  Formatting formatting = Formatting::alpaca;
  bool ranking = false;
  std::string split = "train";  ///< as split_slice reads it
  std::optional<std::int64_t> num_samples;
  Columns columns;
  Tags tags;
  std::vector<std::string> notes;  ///< keys that have no effect; for the user
};

/// What becomes of a key of dataset_info.json.
enum class KeyFate { used, refused, no_effect };

struct RegistryKey {
  std::string_view name;
  KeyFate fate = KeyFate::used;
  std::string_view why = "";   ///< for `refused` and `no_effect`
  std::string_view only = "";  ///< the layout that has this column, alpaca or messages (sharegpt and openai); "": each
};

/// The keys of an entry, of its "columns" and of its "tags". They are all that LLaMA-Factory knows.
inline constexpr RegistryKey entry_keys[] = {
    {"file_name"},
    {"formatting"},
    {"ranking"},
    {"split"},
    {"num_samples"},
    {"columns"},
    {"tags", KeyFate::used, "", "messages"},
    {"subset"},
    {"folder"},
    {"load_from", KeyFate::no_effect, "where records come from follows from file_name, hf_hub_url and ms_hub_url"},
    {"dataset_name", KeyFate::no_effect, "the name of the entry is used"},
    {"hf_hub_url"},
    {"ms_hub_url"},
    {"om_hub_url", KeyFate::refused},
    {"script_url", KeyFate::refused},
    {"cloud_file_name", KeyFate::refused},
    {"s3_file_name", KeyFate::refused},  // cloud_file_name in older versions
};
inline constexpr RegistryKey column_keys[] = {
    {"prompt", KeyFate::used, "", "alpaca"},
    {"query", KeyFate::used, "", "alpaca"},
    {"response", KeyFate::used, "", "alpaca"},
    {"history", KeyFate::used, "", "alpaca"},
    {"messages", KeyFate::used, "", "messages"},
    {"system"},
    {"tools"},
    {"images"},
    {"videos"},
    {"audios"},  // records that list one are refused
    {"chosen"},
    {"rejected"},
    {"kto_tag"},
};
inline constexpr RegistryKey tag_keys[] = {
    {"role_tag"},        {"content_tag"},  {"user_tag"},   {"assistant_tag"},
    {"observation_tag"}, {"function_tag"}, {"system_tag"},
};

namespace detail {

using Json = nlohmann::ordered_json;

/// Mistakes in an entry of dataset_info.json; every message names the entry.
struct EntryErrors {
  static constexpr bool whole_floats = false, lax = false;
  std::string subject;

  [[noreturn]] void no_object(const std::string&, const Json& got) const {
    fail(subject, ": an object is wanted, got ", got.type_name());
  }
  [[noreturn]] void missing(const std::string& key) const { fail(subject, ": \"", key, "\" is missing"); }
  [[noreturn]] void wrong(const std::string& key, const Json& got, std::string_view wanted) const {
    fail(subject, ": \"", key, "\" is ", io::foreign_name(got.dump()), ", wanted ", wanted);
  }
};

/// Reads one registry entry, or its columns or tags.
class EntryReader : public io::FieldReader<Json, EntryErrors> {
 public:
  EntryReader(std::string subject, const Json& entry)
      : FieldReader(entry, EntryErrors{subject}), subject_(std::move(subject)), entry_(entry) {}

  /// Refuses the keys that are not read, and returns a note on each that has no effect for this layout.
  std::vector<std::string> check(std::span<const RegistryKey> keys, Formatting formatting) const {
    std::vector<std::string> notes;
    const std::string_view layout = formatting == Formatting::alpaca ? "alpaca" : "messages";
    for (const auto& [name, value] : entry_.items()) {
      const auto key =
          std::find_if(keys.begin(), keys.end(), [&name = name](const RegistryKey& k) { return k.name == name; });
      if (key == keys.end() || value.is_null()) continue;
      if (key->fate == KeyFate::refused) fail(subject_, ": \"", name, "\" is not supported: ", key->why);
      if (key->fate == KeyFate::no_effect) notes.push_back(cat(subject_, ": \"", name, "\" has no effect: ", key->why));
      if (!key->only.empty() && key->only != layout) {
        notes.push_back(cat(subject_, ": \"", name, "\" has no effect: only formatting ",
                            key->only == "alpaca" ? "alpaca" : "sharegpt and openai", " has it"));
      }
    }
    return notes;
  }
  /// The keys that are not in the table.
  std::vector<std::string> unknown(std::span<const RegistryKey> keys) const {
    std::vector<std::string> names;
    for (const auto& item : entry_.items()) {
      const auto same = [&](const RegistryKey& key) { return key.name == item.key(); };
      if (std::none_of(keys.begin(), keys.end(), same)) names.push_back(item.key());
    }
    return names;
  }
  [[noreturn]] void refuse(const std::string& key, std::span<const RegistryKey> keys) const {
    const std::vector<std::string> known = names_of(keys);
    fail(subject_, ": unknown key \"", key, "\"", io::did_you_mean(key, known), "; known are ", io::listed(known));
  }
  /// A key of an entry that is nearly a known one is a misspelling. Others (a description, an author) are the user's
  /// own.
  std::vector<std::string> note_unknown(std::span<const RegistryKey> keys) const {
    const std::vector<std::string> others = unknown(keys);
    for (const std::string& key : others)
      if (!io::did_you_mean(key, names_of(keys)).empty()) refuse(key, keys);
    if (others.empty()) return {};
    return {
        cat(subject_, ": ", io::foreign_names(others),
            others.size() == 1 ? " has no effect: no key has this name" : " have no effect: no keys have these names")};
  }
  void refuse_unknown(std::span<const RegistryKey> keys) const {
    for (const std::string& key : unknown(keys)) refuse(key, keys);
  }

 private:
  static std::vector<std::string> names_of(std::span<const RegistryKey> keys) {
    std::vector<std::string> names;
    for (const RegistryKey& key : keys) names.emplace_back(key.name);
    return names;
  }

  std::string subject_;
  const Json& entry_;
};

/// Once a columns object is present, a key that it lacks means "unused", not its default: LLaMA-Factory's rule.
inline Columns read_columns(const EntryReader& read) {
  return {.prompt = read.maybe_text("prompt"),
          .query = read.maybe_text("query"),
          .response = read.maybe_text("response"),
          .history = read.maybe_text("history"),
          .messages = read.maybe_text("messages"),
          .system = read.maybe_text("system"),
          .tools = read.maybe_text("tools"),
          .images = read.maybe_text("images"),
          .videos = read.maybe_text("videos"),
          .audios = read.maybe_text("audios"),
          .chosen = read.maybe_text("chosen"),
          .rejected = read.maybe_text("rejected"),
          .kto_tag = read.maybe_text("kto_tag"),
          .given = true};
}

/// The same rule as for columns.
inline Tags read_tags(const EntryReader& read) {
  return {.role_tag = read.maybe_text("role_tag"),
          .content_tag = read.maybe_text("content_tag"),
          .user_tag = read.maybe_text("user_tag"),
          .assistant_tag = read.maybe_text("assistant_tag"),
          .observation_tag = read.maybe_text("observation_tag"),
          .function_tag = read.maybe_text("function_tag"),
          .system_tag = read.maybe_text("system_tag")};
}

inline Formatting read_formatting(const std::string& subject, const std::string& word) {
  if (word == "alpaca") return Formatting::alpaca;
  if (word == "sharegpt") return Formatting::sharegpt;
  if (word == "openai") return Formatting::openai;
  fail(subject, ": \"formatting\" is \"", word, "\"",
       io::did_you_mean(word, std::array<std::string_view, 3>{"alpaca", "sharegpt", "openai"}),
       "; alpaca, sharegpt and openai are known");
}

/// The hub that an entry names, by LLaMA-Factory's rule: ModelScope if it is chosen or alone.
inline std::optional<HubDataset> read_hub(const std::string& subject, const EntryReader& read) {
  const auto hf = read.maybe_text("hf_hub_url"), ms = read.maybe_text("ms_hub_url");
  if (!hf && !ms) return std::nullopt;
  const bool use_ms = ms && (!hf || hub::default_source(hub::process_environment) == hub::Source::modelscope);
  HubDataset out{use_ms ? hub::Source::modelscope : hub::Source::huggingface, use_ms ? *ms : *hf,
                 read.maybe_text("subset").value_or(""), read.maybe_text("folder").value_or("")};
  if (!hub::is_repository_name(out.name))
    fail(subject, ": \"", use_ms ? "ms_hub_url" : "hf_hub_url", "\" is ", out.name, ", wanted OWNER/NAME");
  return out;
}

/// Script and cloud sources win over file_name in LLaMA-Factory, so an entry with one of them is refused.
inline void refuse_remote(const std::string& subject, const EntryReader& read, const std::string& dir) {
  if (const auto script = read.maybe_text("script_url"))
    fail(subject, ": its source is script_url ", *script, ", and no foreign code is run: write its records to ", dir,
         " as JSON lines and name them with \"file_name\"");
  for (const char* key : {"om_hub_url", "cloud_file_name", "s3_file_name"}) {
    if (const auto source = read.maybe_text(key)) {
      fail(subject, ": its source is ", key, " ", *source,
           ", and nothing is fetched from there: download its json or jsonl files to ", dir, " and name them with",
           " \"file_name\" instead of \"", key, "\"");
    }
  }
}

inline void append(std::vector<std::string>& notes, std::vector<std::string> more) {
  notes.insert(notes.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

inline DatasetInfo read_entry(const std::string& registry, const std::string& dir, const std::string& name,
                              const Json& entry) {
  const std::string subject = cat(registry, ": data set ", name);
  const EntryReader read(subject, entry);
  DatasetInfo info;
  info.name = name;
  info.hub = read_hub(subject, read);
  if (!info.hub) refuse_remote(subject, read, dir);
  info.formatting = read_formatting(subject, read.maybe_text("formatting").value_or("alpaca"));
  info.notes = read.check(entry_keys, info.formatting);
  append(info.notes, read.note_unknown(entry_keys));
  const auto file_name = read.maybe_text("file_name");
  if (!info.hub && (!file_name || file_name->empty()))
    fail(subject, ": \"file_name\" is missing: which file of ", dir, " is it?");
  info.file_name = file_name.value_or("");
  for (const char* key : {"subset", "folder"})
    if (!info.hub && read.has(key))
      info.notes.push_back(
          cat(subject, ": \"", key, "\" has no effect: it selects a part of a hub data set, and this one is a file"));
  if (info.hub && file_name)
    info.notes.push_back(cat(subject, ": \"file_name\" has no effect: the hub's files are read"));
  info.ranking = read.boolean("ranking");
  info.split = read.maybe_text("split").value_or("train");
  if (const Json* count = read.find("num_samples")) {
    if (!count->is_number_integer() || *count < 1) read.wrong("num_samples", *count, "a positive whole number");
    info.num_samples = count->get<std::int64_t>();
  }
  const auto part = [&](const char* key, std::span<const RegistryKey> keys) {
    EntryReader reader(cat(subject, " ", key), entry[key]);
    reader.refuse_unknown(keys);
    append(info.notes, reader.check(keys, info.formatting));
    return reader;
  };
  if (entry.contains("columns")) info.columns = read_columns(part("columns", column_keys));
  if (entry.contains("tags")) info.tags = read_tags(part("tags", tag_keys));
  return info;
}

}  // namespace detail

/// dataset_info.json: the names that `dataset` and `eval_dataset` may hold, and how each file is read.
/// source  LLaMA-Factory, data/parser.py
class Registry {
 public:
  /// Reads dataset_dir/dataset_info.json. Entries are checked when they are asked for. dataset_dir "ONLINE" has no
  /// such file: each name is that of a hub's repository.
  static Registry load(const std::filesystem::path& dataset_dir) {
    const std::string dir = dataset_dir.string();
    if (dir.starts_with("REMOTE:"))
      fail("dataset_dir: ", dir,
           ": a dataset_info.json on a hub is not read: fetch it with lamina-download --repo-type ",
           "dataset, and name its folder");
    Registry registry;
    if (dir == "ONLINE") {
      registry.dir_ = registry.path_ = dir;
      return registry;
    }
    registry.dir_ = dataset_dir;
    registry.path_ = dataset_dir / "dataset_info.json";
    std::error_code ignored;
    if (!std::filesystem::exists(registry.path_, ignored))
      io::fail_file(registry.path_, "cannot be opened: dataset_dir (now ", dir,
                    ") must be the folder that holds dataset_info.json");
    registry.entries_ = io::read_json_object<detail::Json>(registry.path_);
    return registry;
  }

  /// The entry of that name; an unknown name is an error that suggests the nearest and lists what there is.
  DatasetInfo find(const std::string& name) const {
    if (path_ == "ONLINE")
      return detail::read_entry("dataset_dir: ONLINE", "", name, {{"hf_hub_url", name}, {"ms_hub_url", name}});
    const auto entry = entries_.find(name);
    if (entry != entries_.end()) return detail::read_entry(path_.string(), dir_.string(), name, *entry);
    std::vector<std::string> names;
    for (const auto& item : entries_.items()) names.push_back(item.key());
    fail("dataset or eval_dataset: ", io::foreign_name(name), " is not in ", path_.string(),
         io::did_you_mean(name, names), "; it has ", names.empty() ? "no entry" : io::listed(names, 20));
  }

  const std::filesystem::path& dir() const { return dir_; }

 private:
  std::filesystem::path dir_, path_;
  detail::Json entries_;
};

}  // namespace lamina::data
