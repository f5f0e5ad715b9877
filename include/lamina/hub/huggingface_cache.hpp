#pragma once
#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <lamina/hub/file_lock.hpp>
#include <lamina/hub/store.hpp>
#include <lamina/io/file.hpp>

/// The cache of Hugging Face's client, shared with it:
///
///     models--owner--name/blobs/HASH                       the contents
///                         snapshots/COMMIT/path/file  ->   a relative link to its blob
///                         refs/main                        the commit that main stood for
///     .locks/models--owner--name/HASH.lock
///
/// source  huggingface_hub: file_download.py
namespace lamina::hub {

inline std::string repository_folder(const Repository& repo) {
  std::string name = repo.name;
  name.replace(name.find('/'), 1, "--");
  return cat(name_of(repo.type), "s--", name);
}

/// The snapshot that an earlier download left; nothing if there is none.
inline std::optional<std::filesystem::path> cached_snapshot(const std::filesystem::path& cache,
                                                            const Repository& repo) {
  const auto root = cache / repository_folder(repo);
  std::string commit = repo.revision;
  std::error_code ignored;
  if (const auto ref = root / "refs" / repo.revision; std::filesystem::is_regular_file(ref, ignored))
    commit = io::read_text(ref, 256);
  if (!is_commit(commit)) return std::nullopt;
  const auto snapshot = root / "snapshots" / commit;
  return std::filesystem::is_directory(snapshot, ignored) ? std::optional(snapshot) : std::nullopt;
}

class HuggingFaceCache final : public Store {
 public:
  HuggingFaceCache(const std::filesystem::path& cache, Repository repo, std::string commit)
      : root_(cache / repository_folder(repo)),
        locks_(cache / ".locks" / repository_folder(repo)),
        repo_(std::move(repo)),
        commit_(std::move(commit)) {}

  std::filesystem::path folder() const override { return root_ / "snapshots" / commit_; }
  /// A blob's name is its hash, so its size is enough.
  bool has_content(const RemoteFile& file) const override { return detail::has_size(blob(file), file.size); }
  bool has(const RemoteFile& file) const override { return detail::has_size(folder() / file.path, file.size); }
  Place place(const RemoteFile& file) const override {
    auto aside = blob(file);
    aside += ".incomplete";
    return {blob(file), aside, locks_ / (file.hash.hex + ".lock")};
  }
  /// Links the blob into the snapshot.
  void finish(const RemoteFile& file) const override {
    const auto link = folder() / file.path;
    std::filesystem::create_directories(link.parent_path());
    auto aside = link;
    aside += ".incomplete";
    std::filesystem::remove(aside);
    std::filesystem::create_symlink(blob(file).lexically_relative(link.parent_path()), aside);
    std::filesystem::rename(aside, link);
  }
  void finish_all() const override {
    const auto ref = root_ / "refs" / repo_.revision;
    const auto is_noted = [&] {
      std::error_code ignored;
      return std::filesystem::is_regular_file(ref, ignored) && io::read_text(ref, 256) == commit_;
    };
    if (repo_.revision == commit_ || is_noted()) return;
    const FileLock lock(locks_ / "refs.lock", repo_.name);
    std::filesystem::create_directories(ref.parent_path());
    io::write_text(ref, commit_);
  }

 private:
  std::filesystem::path blob(const RemoteFile& file) const { return root_ / "blobs" / file.hash.hex; }

  std::filesystem::path root_, locks_;
  Repository repo_;
  std::string commit_;
};

}  // namespace lamina::hub
