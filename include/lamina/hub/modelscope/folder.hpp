#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <lamina/hub/disk/store.hpp>

/// The cache of ModelScope's client, shared with it: models/owner--name/snapshots/REVISION/path/file. Older versions of
/// it wrote [hub/]models/owner/name with each . of the name as ___; if such a folder is there, it is gone on with.
///
/// source  modelscope_hub: _download.py (_repo_cache_dir_path, _find_legacy_repo_dir, _lock_path)
namespace lamina::hub {

inline std::filesystem::path modelscope_snapshot(const std::filesystem::path& cache, const Repository& repo) {
  const auto slash = repo.name.find('/');
  const std::string owner = repo.name.substr(0, slash), kind = cat(name_of(repo.type), "s");
  std::string name = repo.name.substr(slash + 1), safe;
  for (const char c : name) safe += c == '.' ? std::string("___") : std::string(1, c);
  for (const auto& older : {cache / kind / owner / safe, cache / "hub" / kind / owner / safe}) {
    std::error_code error;
    if (std::filesystem::is_directory(older, error) && !std::filesystem::is_empty(older, error)) return older;
  }
  return cache / kind / (owner + "--" + name) / "snapshots" / repo.revision;
}

/// The snapshot that an earlier download left; nothing if there is none.
inline std::optional<std::filesystem::path> modelscope_cached(const std::filesystem::path& cache,
                                                              const Repository& repo) {
  const auto folder = modelscope_snapshot(cache, repo);
  std::error_code error;
  const bool there = std::filesystem::is_directory(folder, error) && !std::filesystem::is_empty(folder, error);
  return there ? std::optional(folder) : std::nullopt;
}

/// Files under their own names, in ModelScope's cache or in a folder of the user's.
class ModelScopeFolder final : public Store {
 public:
  ModelScopeFolder(std::filesystem::path folder, std::filesystem::path cache, Repository repo)
      : folder_(std::move(folder)), cache_(std::move(cache)), repo_(std::move(repo)) {}

  std::filesystem::path folder() const override { return folder_; }
  /// A branch moves, so only the content tells.
  bool has_content(const RemoteFile& file) const override { return detail::is_content(folder_ / file.path, file); }
  BlobFiles place(const RemoteFile& file) const override {
    const auto path = folder_ / file.path;
    auto aside = path;
    aside += ".incomplete";
    std::string key = "modelscope-hub-download-lock-v2";
    for (const std::string& part : {std::string("file"), std::string(name_of(repo_.type)), repo_.name, file.path}) {
      key += '\0';
      key += part;
    }
    return {path, aside, cache_ / ".lock" / cat("file_", sha256_of(key), ".lock")};
  }

 private:
  std::filesystem::path folder_, cache_;
  Repository repo_;
};

}  // namespace lamina::hub
