#pragma once
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>

#include <lamina/hub/disk/blob.hpp>
#include <lamina/hub/repository.hpp>
#include <lamina/io/file.hpp>

namespace lamina::hub {

/// Where the files of one repository go, in the layout of a hub's own client.
class Store {
 public:
  virtual ~Store() = default;
  /// The folder with all files under their own names.
  virtual std::filesystem::path folder() const = 0;
  virtual BlobFiles place(const RemoteFile& file) const = 0;
  /// True if the content is at its place. May read the whole file.
  virtual bool has_content(const RemoteFile& file) const = 0;
  /// True if nothing remains to be done for the file, finish() included.
  virtual bool has(const RemoteFile& file) const { return has_content(file); }
  /// After the content came to its place; the place's lock is held.
  virtual void finish(const RemoteFile&) const {}
  /// After the last file.
  virtual void finish_all() const {}
};

namespace detail {

inline bool has_size(const std::filesystem::path& path, std::uint64_t size) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error) && std::filesystem::file_size(path, error) == size && !error;
}

/// True if the file has the size and the hash. False without a hash: the size tells nothing about a file that changed,
/// so it is fetched anew. (ModelScope's client trusts the size.)
inline bool is_content(const std::filesystem::path& path, const RemoteFile& file) {
  if (file.hash.kind == Hash::Kind::none || !has_size(path, file.size)) return false;
  const io::File in(path);
  Digest digest(file.hash.kind, file.size);
  std::vector<std::byte> buffer(1 << 20);
  for (std::uint64_t at = 0; at < file.size; at += buffer.size()) {
    io::stop_if_interrupted();
    const auto part = std::span(buffer).first(std::min<std::uint64_t>(buffer.size(), file.size - at));
    in.read(at, part);
    digest.update(part);
  }
  return digest.finish() == file.hash;
}

/// The folder itself, or of those around it the nearest that exists.
inline std::filesystem::path existing_part(std::filesystem::path folder) {
  folder = std::filesystem::absolute(folder);
  std::error_code ignored;
  while (!std::filesystem::exists(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

/// Error unless files can be written to this folder, which may not exist yet. name: of the setting that names it.
inline void require_usable(const std::string& name, const std::filesystem::path& folder) {
  const auto found = existing_part(folder);
  const std::string subject = cat(name, ": ", folder.string(), ": ");
  std::error_code ignored;
  if (!std::filesystem::is_directory(found, ignored))
    fail(subject, found == std::filesystem::absolute(folder) ? "" : cat(found.string(), " "),
         "is a file, wanted a folder");
  if (::access(found.c_str(), W_OK | X_OK) != 0) fail(subject, "cannot write there: ", std::strerror(errno));
}

/// Bytes that an unprivileged user may still write to the file system of this folder, which may not exist yet.
inline std::uint64_t free_bytes(std::filesystem::path folder) {
  folder = existing_part(folder);
  struct statvfs status {};
  if (::statvfs(folder.c_str(), &status) != 0)
    fail(folder.string(), ": cannot ask for free space: ", std::strerror(errno));
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

}  // namespace detail
}  // namespace lamina::hub
