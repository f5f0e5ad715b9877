#pragma once
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/core/log.hpp>

namespace lamina::hub {

/// An exclusive flock() on a file of its own, as Python's filelock takes it: a process that dies lets go.
class FileLock {
 public:
  /// Waits until it has the lock. what: that the lock is for, in the note about waiting.
  FileLock(const std::filesystem::path& path, const std::string& what) {
    std::filesystem::create_directories(path.parent_path());
    do {
      if (fd_ >= 0) ::close(fd_);
      fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
      if (fd_ < 0) fail(path.string(), ": cannot create this lock: ", std::strerror(errno));
      if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) continue;
      if (errno == EWOULDBLOCK) note(cat("waiting for another process that fetches ", what));
      while (::flock(fd_, LOCK_EX) != 0)
        if (errno != EINTR) fail(path.string(), ": cannot lock: ", std::strerror(errno));
    } while (!is_still(path));  // some versions of filelock remove the file when they let go
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() { ::close(fd_); }

 private:
  bool is_still(const std::filesystem::path& path) const {
    struct stat held {
    }, named{};
    return ::fstat(fd_, &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
  }
  int fd_ = -1;
};

}  // namespace lamina::hub
