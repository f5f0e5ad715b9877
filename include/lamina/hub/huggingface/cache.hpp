#pragma once
#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include <lamina/core/log.hpp>
#include <lamina/hub/disk/file_lock.hpp>
#include <lamina/hub/disk/store.hpp>
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

/// The commit that a file below refs/ names; "" if there is no such file, or if it holds no commit.
inline std::string commit_in(const std::filesystem::path& ref) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(ref, ignored)) return "";  // a pipe would be waited for
  try {
    std::string text = io::read_text(ref, 64);
    text.erase(std::min(text.find_last_not_of(" \r\n") + 1, text.size()));
    return is_commit(text) ? text : "";
  } catch (const Error&) {
    return "";
  }
}

/// The snapshot that an earlier download left; nothing if there is none. A ref that cannot be read is noted: a download
/// writes it anew.
inline std::optional<std::filesystem::path> cached_snapshot(const std::filesystem::path& cache,
                                                            const Repository& repo) {
  const auto root = cache / repository_folder(repo);
  const auto ref = root / "refs" / repo.revision;
  std::error_code ignored;
  const bool is_named = std::filesystem::exists(ref, ignored);
  const std::string commit = is_named ? commit_in(ref) : repo.revision;
  if (is_named && commit.empty()) note(cat(ref.string(), ": cannot be read as the name of a commit"));
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
  BlobFiles place(const RemoteFile& file) const override {
    auto aside = blob(file);
    aside += ".incomplete";
    return {blob(file), aside, locks_ / (file.hash.hex + ".lock")};
  }
  /// Links the blob into the snapshot.
  void finish(const RemoteFile& file) const override {
    const auto link = folder() / file.path;
    make_folders(link.parent_path());
    auto aside = link;
    aside += ".incomplete";
    std::error_code error;
    std::filesystem::remove(aside, error);
    // From where the folder really is: snapshots/ may be a link to another place.
    const auto blobs = std::filesystem::canonical(blob(file).parent_path(), error);
    const auto from = error ? link.parent_path() : std::filesystem::canonical(link.parent_path(), error);
    if (!error) std::filesystem::create_symlink((blobs / file.hash.hex).lexically_relative(from), aside, error);
    if (!error) std::filesystem::rename(aside, link, error);
    std::error_code ignored;
    if (error)
      fail(link.string(), ": cannot put this link in place: ", error.message(),
           std::filesystem::is_directory(link, ignored)
               ? ": remove the folder of this name"
               : ": the cache needs a file system with symbolic links; --local-dir of lamina-download needs none");
  }
  void finish_all() const override {
    const auto ref = root_ / "refs" / repo_.revision;
    if (repo_.revision == commit_ || commit_in(ref) == commit_) return;
    const FileLock lock(locks_ / "refs.lock", repo_.name);
    make_folders(ref.parent_path());
    io::write_text(ref, commit_);
  }

 private:
  std::filesystem::path blob(const RemoteFile& file) const { return root_ / "blobs" / file.hash.hex; }

  std::filesystem::path root_, locks_;
  Repository repo_;
  std::string commit_;
};

}  // namespace lamina::hub
