#pragma once
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/hub/listing/select.hpp>
#include <lamina/hub/repository.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>

/// What a snapshot on disk lacks, as far as its own files tell: nobody can be asked. An index lists the shards of the
/// weights, a file's name says how many parts there are, a config wants weights, and a download that was interrupted
/// leaves links without a file and files with the ending .incomplete.
namespace lamina::hub {

namespace detail {

/// The "00002" and "00005" of data-00002-of-00005.json, with what is around them.
struct NumberedPart {
  std::string before, after;
  unsigned number = 0, count = 0;
};

inline std::optional<NumberedPart> numbered_part(const std::string& path) {
  const auto of = path.rfind("-of-");
  constexpr std::size_t digits = 5;
  if (of == path.npos || of < digits + 1 || path[of - digits - 1] != '-' || of + 4 + digits > path.size())
    return std::nullopt;
  NumberedPart part{path.substr(0, of - digits), path.substr(of + 4 + digits)};
  const auto read = [&](std::size_t at, unsigned& value) {
    const char* const end = path.data() + at + digits;
    return std::from_chars(path.data() + at, end, value).ptr == end;
  };
  if (!read(of - digits, part.number) || !read(of + 4, part.count) || part.number > part.count) return std::nullopt;
  return part;
}

/// The name of the file that a client writes aside under this one; "" if it is none, or if the name does not tell:
/// Hugging Face's client writes HASH=.ETAG.RANDOM.incomplete.
inline std::string final_name(std::string path) {
  constexpr std::string_view ending = ".incomplete", notes = ".cache/huggingface/download/";
  if (!path.ends_with(ending)) return "";
  path.resize(path.size() - ending.size());
  if (!path.starts_with(notes)) return path.starts_with(".cache/") ? "" : path;
  if (path.find("=.", path.rfind('/')) != path.npos) return "";
  return path.substr(notes.size(), path.rfind('.') - notes.size());  // PATH.HASH
}

/// The files that an index of weights lists; nothing if it cannot be read.
inline std::optional<std::set<std::string>> shards_of(const std::filesystem::path& index) {
  const auto json = io::try_parse_json<nlohmann::json>(io::read_text(index));
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) return std::nullopt;
  std::set<std::string> shards;
  for (const auto& file : json["weight_map"])
    if (file.is_string() && is_safe_path(file.get_ref<const std::string&>())) shards.insert(file);
  return shards;
}

}  // namespace detail

/// What a folder holds: its files, and those that its links and its unfinished files name without their being there.
struct FolderFiles {
  std::set<std::string> present, begun;
};

inline FolderFiles files_in(const std::filesystem::path& folder) {
  FolderFiles files;
  std::error_code error;
  std::set<std::string> begun;
  for (std::filesystem::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    const std::string path = at->path().lexically_relative(folder).string();
    if (const std::string name = detail::final_name(path); !name.empty())
      begun.insert(name);
    else if (at->is_symlink(ignored) && !at->exists(ignored))
      begun.insert(path);
    else if (at->is_regular_file(ignored) && !path.starts_with(".cache/"))
      files.present.insert(path);
  }
  std::set_difference(begun.begin(), begun.end(), files.present.begin(), files.present.end(),
                      std::inserter(files.begun, files.begun.end()));
  return files;
}

/// The parts of numbered files that are not among these paths: of weights 1 to N, of data 0 to N - 1. At most 1000:
/// names of a few files may claim millions.
inline std::set<std::string> missing_parts(const std::set<std::string>& paths) {
  constexpr std::size_t most = 1000;
  std::set<std::string> missing, seen;
  for (const std::string& path : paths) {
    const auto part = detail::numbered_part(path);
    if (!part || !seen.insert(cat(part->before, part->count, part->after)).second) continue;
    const unsigned first = path.ends_with(".safetensors") ? 1 : 0;
    for (unsigned i = first; i < first + part->count && missing.size() < most; ++i) {
      const std::string number = std::to_string(100'000 + i).substr(1), count = std::to_string(100'000 + part->count);
      std::string name = cat(part->before, number, "-of-", count.substr(1), part->after);
      if (!paths.contains(name)) missing.insert(std::move(name));
    }
  }
  return missing;
}

/// Names what a folder lacks of the files that a selection asks for.
class MissingFiles {
 public:
  MissingFiles(const Repository& repo, const Selection& selection, const std::filesystem::path& folder)
      : repo_(repo), selection_(selection), folder_(folder), found_(files_in(folder)) {}

  std::vector<std::string> find() {
    for (const std::string& path : found_.begun) lack(path);
    std::set<std::string> selected;
    for (const std::string& path : found_.present)
      if (is_selected(repo_, selection_, path)) selected.insert(path);
    for (const std::string& path : missing_parts(selected)) lack(path);
    for (const std::string& pattern : selection_.include)
      if (pattern.find_first_of("*?[/") == pattern.npos) lack(pattern);
    if (repo_.type == RepoType::model) find_of_model(selected);
    if (missing_.empty() && selected.empty()) return {selection_.include.empty() ? "every file" : "files that match"};
    return {missing_.begin(), missing_.end()};
  }

 private:
  void lack(const std::string& path) {
    if (!found_.present.contains(path) && is_selected(repo_, selection_, path)) missing_.insert(path);
  }
  std::string at(const std::string& name) const {
    return selection_.folder.empty() ? name : selection_.folder + "/" + name;
  }
  bool has(const std::string& name) const { return found_.present.contains(at(name)); }

  void find_of_model(const std::set<std::string>& selected) {
    const auto is_weights = [](const std::string& path) { return path.ends_with(".safetensors"); };
    const bool weights = std::any_of(selected.begin(), selected.end(), is_weights);
    const std::string index = "model.safetensors.index.json";
    if (has(index) && !has("model.safetensors")) {
      const auto shards = detail::shards_of(folder_ / at(index));
      if (!shards) missing_.insert(at(index) + " (it cannot be read)");
      if (shards)
        for (const std::string& shard : *shards) lack(at(shard));
    } else if (has("adapter_config.json") && !has("config.json")) {
      lack(at("adapter_model.safetensors"));
    } else if (has("config.json") && !weights) {
      lack(at("model.safetensors"));
    }
    if (weights && !has("config.json") && !has("adapter_config.json")) lack(at("config.json"));
  }

  const Repository& repo_;
  const Selection& selection_;
  const std::filesystem::path& folder_;
  FolderFiles found_;
  std::set<std::string> missing_;
};

}  // namespace lamina::hub
