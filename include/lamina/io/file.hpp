#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <lamina/core/error.hpp>

/// Files as POSIX has them: read by position, mapped, and replaced whole or not at all.
namespace lamina::io {

/// A file that a program was given and cannot read: it is missing, no file, unreadable, or too large. What names it is
/// right as it is written: exit status 1, wherever the name was read.
struct FileError : Error {
  using Error::Error;
};

template <class... Parts>
[[noreturn]] void fail_file(const std::filesystem::path& path, const Parts&... parts) {
  throw FileError(cat(path.string(), ": ", parts...));
}

namespace detail {

/// FileError unless stat() or fstat(), which returned `result`, found a regular file.
inline void require_regular(const std::filesystem::path& path, int result, const struct stat& status) {
  if (result != 0) fail_file(path, "cannot open: ", std::strerror(errno));
  if (S_ISREG(status.st_mode)) return;
  fail_file(path, "is ",
            S_ISDIR(status.st_mode)    ? "a folder"
            : S_ISFIFO(status.st_mode) ? "a pipe"
            : S_ISSOCK(status.st_mode) ? "a socket"
                                       : "a device",
            ", wanted a regular file");
}

}  // namespace detail

/// A regular file opened for reading: the one opener of what users name. FileError, with the path and the system's
/// reason, for anything else: a pipe or a device would be waited for, or has no end.
class File {
 public:
  File() = default;
  explicit File(const std::filesystem::path& path) : File() {
    path_ = path;
    struct stat status {};
    detail::require_regular(path, ::stat(path.c_str(), &status), status);  // opening a device has effects
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd_ < 0) fail_file(path, "cannot open: ", std::strerror(errno));
    detail::require_regular(path, ::fstat(fd_, &status), status);  // the path may have changed since
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  File(File&& other) noexcept { swap(other); }
  File& operator=(File&& other) noexcept {
    swap(other);
    return *this;
  }
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }

  const std::filesystem::path& path() const { return path_; }
  /// Bytes of the file when it was opened.
  std::uint64_t size() const { return size_; }
  int descriptor() const { return fd_; }

  /// Fills out with the bytes from offset on, by pread: no page stays mapped, and threads may share the file.
  void read(std::uint64_t offset, std::span<std::byte> out) const {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t got = ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_file(path_, "cannot read: ", std::strerror(errno));
      if (got == 0) fail_file(path_, "ended at byte ", offset + done, ": was it cut off while being read?");
      done += static_cast<std::size_t>(got);
    }
  }

 private:
  void swap(File& other) {
    std::swap(fd_, other.fd_);
    std::swap(size_, other.size_);
    std::swap(path_, other.path_);
  }

  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::filesystem::path path_;
};

/// A whole file mapped for reading; pages come in when touched and go when memory is short.
class Mapping {
 public:
  Mapping() = default;
  explicit Mapping(const File& file) : size_(file.size()) {
    if (size_ == 0) return;
    void* p = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
    if (p == MAP_FAILED) fail_file(file.path(), "cannot map ", size_, " bytes: ", std::strerror(errno));
    data_ = static_cast<const std::byte*>(p);
  }
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping() {
    if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
  }
  std::span<const std::byte> bytes() const { return {data_, data_ ? size_ : 0}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// FileError if a file, by its first bytes, is a pointer of git-lfs: the large file itself was not fetched.
inline void refuse_lfs_pointer(const std::filesystem::path& path, std::string_view beginning) {
  if (beginning.starts_with("version https://git-lfs.github.com/spec/"))
    fail_file(path, "is a git-lfs pointer, not the file itself: run \"git lfs pull\" in its folder, or download the ",
              "file again");
}

/// The text of a small file such as config.json; FileError if it is missing, no regular file, unreadable, a git-lfs
/// pointer or longer than limit_bytes. The size is known before memory is taken for it.
inline std::string read_text(const std::filesystem::path& path, std::uint64_t limit_bytes = 256u << 20) {
  const File file(path);
  if (file.size() > limit_bytes)
    fail_file(path, "has ", file.size(), " bytes, more than the ", limit_bytes, " that such a file may have");
  std::string text(file.size(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  refuse_lfs_pointer(path, text);
  return text;
}

/// Makes a rename or a new entry in this folder survive a power cut.
inline void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

/// Writes a file aside, as "<path>.incomplete", and puts it in place when it is whole: a program that looks at path,
/// even after a kill or a power cut, finds the old file or the new one. Without commit() nothing is left behind.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path) : path_(std::move(path)), aside_(path_) {
    aside_ += ".incomplete";
    fd_ = ::open(aside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd_ < 0) fail(path_.string(), ": cannot write here: ", std::strerror(errno));
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile(AtomicFile&& other) noexcept
      : path_(std::move(other.path_)),
        aside_(std::move(other.aside_)),
        fd_(std::exchange(other.fd_, -1)),
        written_bytes_(other.written_bytes_),
        closed_(std::exchange(other.closed_, false)) {}
  ~AtomicFile() {
    if (fd_ < 0 && !closed_) return;
    if (fd_ >= 0) ::close(fd_);
    ::unlink(aside_.c_str());
  }

  const std::filesystem::path& path() const { return path_; }

  /// Appends; Error on a full disk, after which the file can only be destroyed.
  void write(std::span<const std::byte> bytes) {
    constexpr std::size_t most = std::size_t{1} << 30;  // Linux writes at most 2 GiB a call
    while (!bytes.empty()) {
      const ssize_t done = ::write(fd_, bytes.data(), std::min(bytes.size(), most));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail_write(errno);
      written_bytes_ += static_cast<std::uint64_t>(done);
      bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }

  /// Brings every byte to the disk and closes; commit() is then a rename, so that several files can change together.
  void close() {
    if (fd_ < 0) return;
    if (::fsync(fd_) != 0) fail_write(errno);
    const int rc = ::close(std::exchange(fd_, -1));
    closed_ = true;
    if (rc != 0) fail_write(errno);
  }

  /// Puts the file in place of whatever bore its name.
  void commit() {
    close();
    if (::rename(aside_.c_str(), path_.c_str()) != 0)
      fail(path_.string(), ": cannot put the new file in place: ", std::strerror(errno));
    closed_ = false;
    sync_folder(path_.parent_path());
  }

 private:
  [[noreturn]] void fail_write(int reason) const {
    fail(path_.string(), ": cannot write past byte ", written_bytes_, ": ", std::strerror(reason),
         reason == ENOSPC || reason == EDQUOT || reason == EFBIG ? ": free some space or choose another folder" : "",
         "; nothing was changed");
  }

  std::filesystem::path path_, aside_;
  int fd_ = -1;
  std::uint64_t written_bytes_ = 0;
  bool closed_ = false;  // written and closed, not yet in place
};

/// Replaces a small file whole or not at all.
inline void write_text(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace lamina::io
