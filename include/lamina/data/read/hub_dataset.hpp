#pragma once
#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/hub/http/curl.hpp>
#include <lamina/hub/settings.hpp>
#include <lamina/hub/snapshot.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/nearest_word.hpp>
#include <lamina/io/yaml.hpp>

/// Data sets that a hub keeps: which files of the repository hold the records, by the rules of the `datasets` library.
/// source  datasets, data_files.py, utils/metadata.py (MetadataConfigs)
namespace lamina::data {

/// What an entry of dataset_info.json says of a data set on a hub.
struct HubDataset {
  hub::Source source = hub::Source::huggingface;
  std::string name = {};                 ///< "owner/name"
  std::string subset = {}, folder = {};  ///< "": not given
};

namespace detail {

/// One of the configurations that a data set's card lists: {config_name, data_files: pattern, patterns or splits}.
struct CardConfig {
  std::string name;
  std::vector<std::pair<std::string, std::string>> files;  ///< split and pattern
};

inline void add_patterns(CardConfig& config, const std::string& split, const YAML::Node& node) {
  if (node.IsScalar()) config.files.emplace_back(split, node.Scalar());
  if (node.IsSequence())
    for (const auto& item : node) {
      if (item.IsMap() && item["split"] && item["path"])
        add_patterns(config, item["split"].as<std::string>(), item["path"]);
      else
        add_patterns(config, split, item);
    }
  if (node.IsMap())
    for (const auto& item : node) add_patterns(config, item.first.as<std::string>(), item.second);
}

/// The configurations in the front matter of README.md; none if it has no such list.
inline std::vector<CardConfig> card_configs(const std::string& name, const std::string& readme) {
  std::vector<CardConfig> configs;
  const auto end = readme.find("\n---", 3);
  if (!readme.starts_with("---") || end == readme.npos) return configs;
  try {
    const YAML::Node card = io::load_yaml(readme.substr(3, end - 3), name + "/README.md");
    if (!card.IsMap() || !card["configs"] || !card["configs"].IsSequence()) return configs;
    for (const auto& entry : card["configs"]) {
      if (!entry.IsMap() || !entry["config_name"] || !entry["data_files"]) continue;
      CardConfig& config = configs.emplace_back();
      config.name = entry["config_name"].as<std::string>();
      add_patterns(config, "train", entry["data_files"]);
    }
  } catch (const YAML::BadConversion& e) {
    fail(name, "/README.md line ", e.mark.line + 1, ": configs: a name or a split is no plain word");
  }
  return configs;
}

/// The configuration that `subset` names, else the only one or "default"; null if the card has none.
inline const CardConfig* chosen_config(const HubDataset& set, const std::vector<CardConfig>& configs) {
  std::vector<std::string_view> names;
  for (const CardConfig& config : configs) names.push_back(config.name);
  const std::string_view wanted = !set.subset.empty() ? set.subset : configs.size() == 1 ? names.front() : "default";
  for (const CardConfig& config : configs)
    if (config.name == wanted) return &config;
  if (configs.empty() && set.subset.empty()) return nullptr;
  fail("data set ", set.name, ": \"subset\" is ", set.subset.empty() ? "not given" : set.subset, ", its card lists ",
       names.empty() ? "none" : io::listed(names, 20), io::did_you_mean(set.subset, names));
}

/// train, validation or test if a word of the path is one of theirs; "" otherwise. Folders count before the file.
inline std::string split_of(std::string_view path) {
  constexpr std::pair<std::string_view, std::string_view> words[] = {
      {"train", "train"},      {"training", "train"}, {"validation", "validation"},
      {"valid", "validation"}, {"dev", "validation"}, {"val", "validation"},
      {"test", "test"},        {"testing", "test"},   {"eval", "test"},
      {"evaluation", "test"}};
  for (std::size_t begin = 0; begin < path.size();) {
    const auto is_letter = [&](std::size_t i) {
      return i < path.size() && std::isalpha(static_cast<unsigned char>(path[i]));
    };
    std::size_t end = begin;
    while (is_letter(end)) ++end;
    for (const auto& [word, split] : words)
      if (path.substr(begin, end - begin) == word) return std::string(split);
    begin = end + 1;
  }
  return "";
}

/// ** crosses folders, * does not.
inline bool is_data_file(const std::string& pattern, const std::string& path) {
  const int flags = pattern.find("**") == pattern.npos ? FNM_PATHNAME : 0;
  return ::fnmatch(pattern.starts_with("./") ? pattern.c_str() + 2 : pattern.c_str(), path.c_str(), flags) == 0;
}

/// Paths that may hold records, in order.
inline std::vector<std::string> record_files(const HubDataset& set, const std::vector<std::string>& paths) {
  constexpr std::string_view types[] = {".json", ".jsonl", ".csv", ".parquet", ".arrow"};
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    const std::filesystem::path file(path);
    const bool hidden =
        path.starts_with(".") || path.find("/.") != path.npos || file.filename() == "dataset_infos.json";
    const bool inside = set.folder.empty() || path.starts_with(set.folder + "/");
    if (!hidden && inside &&
        std::find(std::begin(types), std::end(types), file.extension().string()) != std::end(types))
      files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The folders of paths, without the top.
inline std::set<std::string> folders_of(const std::vector<std::string>& paths) {
  std::set<std::string> folders;
  for (const std::string& path : paths)
    if (auto folder = std::filesystem::path(path).parent_path().string(); !folder.empty())
      folders.insert(std::move(folder));
  return folders;
}

/// Says why none of the paths holds records.
[[noreturn]] inline void fail_without_records(const HubDataset& set, const std::vector<std::string>& paths) {
  const auto everywhere = record_files({.source = set.source, .name = set.name}, paths);
  if (!everywhere.empty()) {
    const auto folders = folders_of(everywhere);
    fail("data set ", set.name, ": \"folder\" is ", set.folder, ", in which no file is .json, .jsonl or .csv; ",
         folders.empty() ? "they are at the top: leave \"folder\" out"
                         : cat("folders with such files: ", io::listed(folders, 10)),
         io::did_you_mean(set.folder, folders));
  }
  const bool script = std::any_of(paths.begin(), paths.end(), [](const auto& path) { return path.ends_with(".py"); });
  fail("data set ", set.name, ": none of its ", paths.size(), " files is .json, .jsonl or .csv",
       script ? "; it is made by a script, and no foreign code is run" : "");
}

/// The files of one split. If no path names a split, all are train.
inline std::vector<std::string> files_of_split(const HubDataset& set, const std::vector<std::string>& files,
                                               const CardConfig* config, const std::string& split) {
  const bool named = std::any_of(files.begin(), files.end(), [](const auto& file) { return !split_of(file).empty(); });
  std::vector<std::string> out;
  std::set<std::string> splits;
  if (config)
    for (const auto& part : config->files) splits.insert(part.first);
  else
    for (const std::string& file : files) splits.insert(named ? split_of(file) : "train");
  splits.erase("");
  for (const std::string& file : files) {
    const bool is_chosen =
        config ? std::any_of(config->files.begin(), config->files.end(),
                             [&](const auto& part) { return part.first == split && is_data_file(part.second, file); })
               : (named ? split_of(file) : "train") == split;
    if (is_chosen) out.push_back(file);
  }
  if (out.empty())
    fail("data set ", set.name, set.folder.empty() ? "" : cat(", folder ", set.folder), ": of its ", files.size(),
         " files with records none is of the split ", split, "; splits: ", io::listed(splits, 10),
         io::did_you_mean(split, splits));
  return out;
}

inline void require_one_readable_type(const HubDataset& set, const std::vector<std::string>& files) {
  const auto type = [](const std::string& file) {
    const std::string extension = std::filesystem::path(file).extension().string();
    return extension == ".jsonl" ? ".json" : extension;
  };
  for (const std::string& file : files) {
    if (type(file) == ".parquet" || type(file) == ".arrow")
      fail("data set ", set.name, ": ", file, ": ", type(file),
           " files are not read. Without images: python -c \"import "
           "datasets; datasets.load_dataset('",
           set.name,
           "', split='train').to_json('records.jsonl', "
           "force_ascii=False)\", then \"file_name\": \"records.jsonl\"");
    if (type(file) != type(files.front()))
      fail("data set ", set.name, ": holds ", files.front(), " and ", file, ": all files must have one type");
  }
}

}  // namespace detail

/// The files of a repository, by path, that hold the split's records. readme: the card, "" if there is none.
inline std::vector<std::string> choose_files(const HubDataset& set, const std::vector<std::string>& paths,
                                             const std::string& readme, const std::string& split) {
  std::vector<std::string> files = detail::record_files(set, paths);
  if (files.empty()) detail::fail_without_records(set, paths);
  const auto configs = detail::card_configs(set.name, readme);
  files = detail::files_of_split(set, files, detail::chosen_config(set, configs), split);
  detail::require_one_readable_type(set, files);
  return files;
}

/// The name of the split in "train[:100]", and the same slice of the split train, which local files have.
inline std::pair<std::string, std::string> hub_split(const HubDataset& set, const std::string& split) {
  if (split.find('+') != split.npos)
    fail("data set ", set.name, ": \"split\" is ", split, ": one split is read; give the others entries of their own");
  const auto bracket = std::min(split.find('['), split.size());
  return {split.substr(0, bracket), "train" + split.substr(bracket)};
}

/// The repository of a data set: its files come as they are named.
class HubFiles {
 public:
  HubFiles(HubDataset set, hub::Options options) : set_(std::move(set)), settings_(read(set_, std::move(options))) {
    request_.repo = {settings_.source, hub::RepoType::dataset, set_.name, settings_.revision};
  }

  const HubDataset& set() const { return set_; }
  /// The snapshot's; after a fetch.
  const std::filesystem::path& folder() const { return folder_; }

  /// Fetches those that are chosen of all paths. If the hub is not asked or is away, choose() is not called: the folder
  /// holds what earlier runs have fetched.
  void fetch(const std::function<std::vector<std::string>(const hub::Listing&)>& choose) {
    request_.choose = [&](const hub::Listing& listing) {
      const auto paths = choose(listing);
      const std::set<std::string_view> chosen(paths.begin(), paths.end());
      std::vector<hub::RemoteFile> files;
      for (const auto& file : listing.files)
        if (chosen.contains(file.path)) files.push_back(file);
      return files;
    };
    folder_ = hub::fetch_snapshot(transport_, settings_, request_);
    // The next files are of the same commit, even if the branch moves.
    if (const std::string commit = folder_.filename().string(); hub::is_commit(commit)) request_.repo.revision = commit;
  }

 private:
  static hub::HubSettings read(const HubDataset& set, hub::Options options) {
    options.source = set.source;
    return hub::read_settings(options);
  }

  HubDataset set_;
  hub::HubSettings settings_;
  hub::CurlTransport transport_{{.certificates = settings_.certificates}};
  hub::SnapshotRequest request_;
  std::filesystem::path folder_;
};

/// Fetches what is missing of the split's files, and returns where they are.
inline std::vector<std::filesystem::path> fetch_records(HubFiles& hub, const std::string& split) {
  const HubDataset& set = hub.set();
  hub.fetch([](const hub::Listing&) { return std::vector<std::string>{"README.md"}; });
  const auto& folder = hub.folder();
  const auto readme = std::filesystem::exists(folder / "README.md") ? io::read_text(folder / "README.md", 4 << 20) : "";
  bool asked = false;
  hub.fetch([&](const hub::Listing& listing) {
    asked = true;
    std::vector<std::string> paths;
    for (const auto& file : listing.files) paths.push_back(file.path);
    return choose_files(set, paths, readme, split);
  });
  const auto found = hub::files_in(folder).present;  // an older snapshot may be what is used, so the folder tells
  const auto chosen = choose_files(set, {found.begin(), found.end()}, readme, split);
  if (const auto missing = hub::missing_parts({chosen.begin(), chosen.end()}); !asked && !missing.empty())
    fail("data set ", set.name, ": ", folder.string(), " lacks ", io::listed(missing, 10),
         ": run once while the hub can be reached");
  std::vector<std::filesystem::path> files;
  for (const std::string& path : chosen) files.push_back(folder / path);
  return files;
}

}  // namespace lamina::data
