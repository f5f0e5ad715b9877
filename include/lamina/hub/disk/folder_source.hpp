#pragma once
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <lamina/core/log.hpp>
#include <lamina/hub/disk/note.hpp>
#include <lamina/hub/repository.hpp>
#include <lamina/io/visible.hpp>

/// Which repository a folder of the user's holds, noted in it as .cache/lamina/source, so that the folder is not taken
/// for another one later:
///
///     Hugging Face model owner/name
///     main
///     the commit, if the hub said it
///
/// While its files come, .cache/lamina/unfinished says the same.
namespace lamina::hub {

struct FolderSource {
  std::string repository;  ///< "Hugging Face model owner/name"
  std::string revision, commit;
  bool operator==(const FolderSource&) const = default;

  std::string text() const { return cat(repository, " at revision ", revision); }
};

inline FolderSource source_of(const Repository& repo, const std::string& commit) {
  return {cat(name_of(repo.source), " ", name_of(repo.type), " ", repo.name), repo.revision, commit};
}

namespace detail {

inline std::filesystem::path source_path(const std::filesystem::path& folder) {
  return folder / ".cache" / "lamina" / "source";
}
inline std::filesystem::path unfinished_path(const std::filesystem::path& folder) {
  return folder / ".cache" / "lamina" / "unfinished";
}

/// The commit other than this one that a file's note of Hugging Face's client names; "" if there is none.
inline std::string other_commit(const std::filesystem::path& folder, const std::string& commit) {
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder / ".cache/huggingface/download", error), end; !error && at != end;
       at.increment(error)) {
    std::error_code ignored;
    if (at->path().extension() != ".metadata" || !at->is_regular_file(ignored)) continue;
    const auto lines = note_lines(at->path());
    if (!lines.empty() && is_commit(lines[0]) && lines[0] != commit) return lines[0];
  }
  return "";
}

}  // namespace detail

namespace detail {

inline std::optional<FolderSource> read_note(const std::filesystem::path& path) {
  const auto lines = note_lines(path);
  if (lines.size() < 2) return std::nullopt;
  FolderSource source;
  source.repository = lines[0], source.revision = lines[1];
  if (lines.size() > 2) source.commit = lines[2];
  return source;
}

/// Nothing is noted in a folder that cannot be written to.
inline void write_note(const std::filesystem::path& path, const FolderSource& source) {
  std::error_code ignored;
  std::filesystem::create_directories(path.parent_path(), ignored);
  std::filesystem::remove(path, ignored);  // it may be a link or a pipe
  std::ofstream(path) << source.repository << "\n" << source.revision << "\n" << source.commit << "\n";
}

}  // namespace detail

/// Nothing if the folder has no such note, or one that cannot be read.
inline std::optional<FolderSource> read_source(const std::filesystem::path& folder) {
  return detail::read_note(detail::source_path(folder));
}

/// The repository of a download into this folder that has not ended.
inline std::optional<FolderSource> read_unfinished(const std::filesystem::path& folder) {
  return detail::read_note(detail::unfinished_path(folder));
}

/// Notes that files of this repository are on their way.
inline void write_unfinished(const std::filesystem::path& folder, const FolderSource& source) {
  detail::write_note(detail::unfinished_path(folder), source);
}

/// Forgets what the folder holds, before files of this repository come to it: until all are there it holds neither.
inline void begin_source(const std::filesystem::path& folder, const FolderSource& wanted) {
  const auto found = read_source(folder);
  if (!found || *found == wanted) return;
  if (found->repository != wanted.repository)
    note(cat(folder.string(), ": holds ", found->text(), ": files of ", wanted.repository,
             " replace those of the same name, the others stay"));
  std::error_code ignored;
  std::filesystem::remove(detail::source_path(folder), ignored);
}

/// Notes what the folder holds, now that all files are there.
inline void write_source(const std::filesystem::path& folder, const FolderSource& source) {
  std::error_code ignored;
  std::filesystem::remove(detail::unfinished_path(folder), ignored);
  if (read_source(folder) != source) detail::write_note(detail::source_path(folder), source);
}

/// The command that continues a download into a folder.
inline std::string download_command(const FolderSource& source, const std::filesystem::path& folder) {
  const std::string& text = source.repository;  // "Hugging Face model owner/name"
  const bool is_dataset = text.find(" dataset ") != text.npos,
             is_default = source.revision == "main" || source.revision == "master";
  return cat("lamina-download ", io::visible(text.substr(text.rfind(' ') + 1)), " --local-dir ", folder.string(),
             is_default ? "" : " --revision " + io::visible(source.revision), is_dataset ? " --repo-type dataset" : "",
             text.starts_with(name_of(Source::modelscope)) ? " --source modelscope" : "");
}

/// Error if the folder is known to hold another repository or revision than the one asked for, which nobody may be
/// asked about now; a note if it does not say which it holds.
inline void require_source(const std::filesystem::path& folder, const Repository& repo) {
  const FolderSource wanted = source_of(repo, "");
  const auto refuse = [&](const std::string& holds) {
    fail(folder.string(), ": holds ", holds, ", not ", wanted.text(), ": name another folder with --local-dir");
  };
  if (const auto found = read_source(folder)) {
    if (found->repository != wanted.repository) refuse(found->text());
    if (found->revision != repo.revision && found->commit != repo.revision) refuse(found->text());
    return;
  }
  if (const std::string other = is_commit(repo.revision) ? detail::other_commit(folder, repo.revision) : "";
      !other.empty())
    refuse(cat("files of commit ", other));
  note(cat(folder.string(), ": is taken for ", wanted.text(), ", which nothing in it says"));
}

}  // namespace lamina::hub
