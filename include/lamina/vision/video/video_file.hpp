#pragma once
#include <lamina/core/error.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

namespace lamina::vision {

/// A video that another process can read: an open file, or a copy of bytes in memory under a descriptor.
class VideoFile {
 public:
  /// lamina::Error if the path does not lead to a regular file that may be read.
  explicit VideoFile(const std::filesystem::path& path)
      : VideoFile(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), path.string()) {}

  /// Bytes in memory; they are copied. `name` is used in messages.
  VideoFile(std::span<const std::uint8_t> bytes, std::string name)
      : VideoFile(::memfd_create("lamina-video", MFD_CLOEXEC), std::move(name)) {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(descriptor_, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        const int error = errno;
        ::close(descriptor_);
        fail("video ", name_, ": no memory for its ", bytes.size(), " bytes: ", std::strerror(error));
      }
      done += static_cast<std::size_t>(n);
    }
  }
  VideoFile(VideoFile&& other) noexcept
      : name_(std::move(other.name_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
  VideoFile& operator=(VideoFile&&) = delete;
  ~VideoFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  const std::string& name() const { return name_; }
  int descriptor() const { return descriptor_; }

 private:
  VideoFile(int descriptor, std::string name) : name_(std::move(name)), descriptor_(descriptor) {
    const int error = errno;
    struct stat status {};
    if (descriptor_ < 0 && (error == ENOENT || error == ENOTDIR))
      fail("video ", name_, ": no such file: correct its path");
    if (descriptor_ < 0) fail("video ", name_, ": cannot be opened for reading: ", std::strerror(error));
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      fail("video ", name_, ": not a file");
    }
  }

  std::string name_;
  int descriptor_;
};

}  // namespace lamina::vision
