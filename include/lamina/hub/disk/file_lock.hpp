#pragma once
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/core/log.hpp>
#include <lamina/hub/http/retry.hpp>

namespace lamina::hub {

/// Makes a folder with its parents. Error that names the one that cannot be made.
inline void make_folders(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(folder.string(), ": cannot make this folder: ", error.message());
}

/// Whether the open file is the one that the path names.
inline bool is_file_at(int fd, const std::filesystem::path& path) {
  struct stat held {
  }, named{};
  return ::fstat(fd, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
         held.st_dev == named.st_dev;
}

/// Waits for an exclusive flock() on an open file. what: that it is for, in the note about waiting.
inline void lock_file(int fd, const std::filesystem::path& path, const std::string& what) {
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) fail(path.string(), ": cannot lock: ", std::strerror(errno));
    note(cat("waiting for another process that fetches ", what));
    interruptible_sleep(std::chrono::milliseconds(100));
  }
}

/// An exclusive flock() on a file of its own, as Python's filelock takes it: a process that dies lets go.
class FileLock {
 public:
  /// Waits until it has the lock. what: that the lock is for, in the note about waiting.
  FileLock(const std::filesystem::path& path, const std::string& what) {
    make_folders(path.parent_path());
    do {
      if (fd_ >= 0) ::close(fd_);
      fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
      if (fd_ < 0) fail(path.string(), ": cannot create this lock: ", std::strerror(errno));
      lock_file(fd_, path, what);
    } while (!is_file_at(fd_, path));  // some versions of filelock remove the file when they let go
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() { ::close(fd_); }

 private:
  int fd_ = -1;
};

}  // namespace lamina::hub
