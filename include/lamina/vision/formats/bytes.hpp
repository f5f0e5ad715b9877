#pragma once
#include <lamina/core/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// Where the bytes of an image come from: memory, or an open file of which only the parts asked for are read.

namespace lamina::vision {

/// An image file, open for reading.
class ImageFile {
 public:
  /// lamina::Error if the path does not lead to a regular file that may be read.
  explicit ImageFile(const std::filesystem::path& path)
      : ImageFile(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), path.string()) {}

  /// Takes over an open descriptor (-1: opening failed, errno says why). `name` is used in messages.
  ImageFile(int descriptor, std::string name) : name_(std::move(name)), descriptor_(descriptor) {
    const int error = errno;
    struct stat status {};
    if (descriptor_ < 0 && (error == ENOENT || error == ENOTDIR))
      fail("image ", name_, ": no such file: correct its path");
    if (descriptor_ < 0) fail("image ", name_, ": cannot be opened for reading: ", std::strerror(error));
    if (::fstat(descriptor_, &status) != 0 || !S_ISREG(status.st_mode)) {
      ::close(descriptor_);
      fail("image ", name_, ": not a file");
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
  }
  ImageFile(ImageFile&& other) noexcept
      : name_(std::move(other.name_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}
  ImageFile& operator=(ImageFile&&) = delete;
  ~ImageFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }

  /// Copies the bytes from `offset` on; returns their number, less than asked for at the end of the file.
  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> to) {
    std::size_t done = 0;
    while (done < to.size()) {
      const ssize_t n = ::pread(descriptor_, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  /// All of the file.
  std::vector<std::uint8_t> read_all() {
    std::vector<std::uint8_t> bytes(size_);
    if (const std::size_t n = read(0, bytes); n != bytes.size())
      fail("image ", name_, ": cannot be read: ", bytes.size(), " bytes expected, found ", n);
    return bytes;
  }

 private:
  std::string name_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

namespace detail {

/// Bytes in memory, read as those of an ImageFile are.
struct MemoryBytes {
  std::span<const std::uint8_t> bytes;
  std::uint64_t size() const { return bytes.size(); }
  std::size_t read(std::uint64_t offset, std::span<std::uint8_t> to) {
    if (offset >= bytes.size()) return 0;
    const std::size_t n = std::min<std::size_t>(to.size(), bytes.size() - offset);
    std::memcpy(to.data(), bytes.data() + offset, n);
    return n;
  }
};

inline unsigned le16(const std::uint8_t* p) { return p[0] | p[1] << 8; }
inline unsigned be16(const std::uint8_t* p) { return p[0] << 8 | p[1]; }
inline std::uint32_t le32(const std::uint8_t* p) { return le16(p) | static_cast<std::uint32_t>(le16(p + 2)) << 16; }
inline std::uint32_t be32(const std::uint8_t* p) { return static_cast<std::uint32_t>(be16(p)) << 16 | be16(p + 2); }

/// Reads exactly N bytes, or says that the file is cut off.
template <std::size_t N, class Bytes>
std::array<std::uint8_t, N> read_exactly(Bytes& bytes, std::uint64_t offset, std::string_view name) {
  std::array<std::uint8_t, N> out{};
  if (bytes.read(offset, out) != N)
    fail("image ", name, ": its header ends after ", bytes.size(), " bytes: the file is truncated, copy it again");
  return out;
}

/// A four-letter chunk name.
template <std::size_t N>
std::string_view tag(const std::array<std::uint8_t, N>& bytes, std::size_t at) {
  return {reinterpret_cast<const char*>(bytes.data()) + at, 4};
}

}  // namespace detail
}  // namespace lamina::vision
