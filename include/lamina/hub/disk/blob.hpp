#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/hub/disk/digest.hpp>
#include <lamina/hub/disk/file_lock.hpp>
#include <lamina/hub/http/client.hpp>
#include <lamina/io/program/interrupt.hpp>
#include <lamina/io/visible.hpp>

namespace lamina::hub {

/// Where one file goes: written aside, and renamed when it is whole and its hash is right.
struct BlobFiles {
  std::filesystem::path file, aside, lock;
};

/// One file to fetch.
struct Blob {
  std::string url;
  std::uint64_t size = 0;
  Hash hash;
};

namespace detail {

/// The part of a file that has come so far, on disk and hashed, and this process's alone. It stays when this object
/// goes, so that the next run continues there, unless it is empty, or without a hash that could tell a file which has
/// changed.
class PartialFile {
 public:
  PartialFile(const std::filesystem::path& path, const Blob& blob)
      : path_(path), blob_(blob), digest_(blob.hash.kind, blob.size) {
    make_folders(path.parent_path());
    try {
      open_alone();
      checks() ? read_again() : restart();
    } catch (...) {  // what is there stays
      if (fd_ >= 0) ::close(fd_);
      throw;
    }
  }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  ~PartialFile() {
    if (fd_ < 0) return;
    if (size_ == 0 || !checks()) ::unlink(path_.c_str());
    ::close(fd_);
  }

  std::uint64_t size() const { return size_; }
  /// Whether the whole file's content can be distinguished from another's.
  bool checks() const { return blob_.hash.kind != Hash::Kind::none; }

  void append(std::span<const std::byte> bytes) {
    if (bytes.size() > blob_.size - size_) {
      restart();
      contradict("more bytes", cat(blob_.url, ": more bytes came than the ", blob_.size, " of the file"));
    }
    for (std::span<const std::byte> rest = bytes; !rest.empty();) {
      const ssize_t done = ::pwrite(fd_, rest.data(), rest.size(), static_cast<off_t>(size_));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail_write();
      digest_.update(rest.first(static_cast<std::size_t>(done)));
      size_ += static_cast<std::uint64_t>(done);
      rest = rest.subspan(static_cast<std::size_t>(done));
    }
  }
  /// Throws away what has come.
  void restart() {
    if (::ftruncate(fd_, 0) != 0) fail_write();
    digest_ = Digest(blob_.hash.kind, blob_.size);
    size_ = 0;
  }
  /// The server contradicts the listing. Another attempt may bring what is listed; the same mistake twice is final.
  [[noreturn]] void contradict(const std::string& mistake, const std::string& message) {
    if (!mistakes_.insert(mistake).second) fail(message, ": it came twice; run again, the file may have changed");
    throw Temporary(message);
  }
  /// Puts the whole file in place; after a power cut it is whole or absent. If its content is not what the hub
  /// announced nothing is left.
  void commit(const std::filesystem::path& file) {
    if (const Hash got = digest_.finish(); got != blob_.hash) {
      restart();
      contradict("hash", cat(blob_.url, ": the content's hash is ", got.hex, ", the listing says ", blob_.hash.hex));
    }
    make_folders(file.parent_path());
    if (::fsync(fd_) != 0) fail_write();
    // The lock is held until the file has its name: who waits for it then begins a file of its own.
    if (::rename(path_.c_str(), file.c_str()) != 0)
      fail(file.string(), ": cannot put the file in place: ", std::strerror(errno),
           errno == EISDIR ? ": remove or rename the folder of this name" : "");
    ::close(std::exchange(fd_, -1));
  }

 private:
  /// Waits for processes that write the same file but have other locks: those of another repository or cache. A link is
  /// not followed: it might lead anywhere.
  void open_alone() {
    for (;;) {
      fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
      if (fd_ < 0)
        fail(path_.string(), ": cannot write here: ", errno == ELOOP ? "it is a link" : std::strerror(errno));
      lock_file(fd_, path_, path_.filename().string());
      if (is_file_at(fd_, path_)) return require_own_file();
      ::close(std::exchange(fd_, -1));  // another process has put it in place
    }
  }
  /// A file that has another name as well may be anybody's: it is not written to.
  void require_own_file() const {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail(path_.string(), ": cannot ask what it is: ", std::strerror(errno));
    if (!S_ISREG(status.st_mode)) fail(path_.string(), ": is not a file that can be written to: remove it");
    if (status.st_nlink > 1)
      fail(path_.string(), ": has another name too (a hard link): remove it; nothing was written");
  }
  /// Hashes what an earlier run has left.
  void read_again() {
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail(path_.string(), ": cannot read its size: ", std::strerror(errno));
    const auto found = static_cast<std::uint64_t>(status.st_size);
    if (found > blob_.size) return restart();
    std::vector<std::byte> buffer(std::min<std::uint64_t>(found, 1 << 20));
    while (size_ < found) {
      io::stop_if_interrupted();
      const ssize_t got = ::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(size_));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) fail(path_.string(), ": cannot read: ", got < 0 ? std::strerror(errno) : "it became shorter");
      digest_.update(std::span(buffer).first(static_cast<std::size_t>(got)));
      size_ += static_cast<std::uint64_t>(got);
    }
  }
  [[noreturn]] void fail_write() const {
    const int reason = errno;
    fail(path_.string(), ": cannot write past byte ", size_, ": ", std::strerror(reason),
         reason == ENOSPC || reason == EDQUOT || reason == EFBIG ? ": free some space or choose another folder" : "",
         "; the next run continues there");
  }

  std::filesystem::path path_;
  const Blob& blob_;
  Digest digest_;
  std::uint64_t size_ = 0;
  int fd_ = -1;
  std::set<std::string> mistakes_;  ///< of the server
};

/// Checks what an answer says before its body: the length, the range, and that the file is still the one announced.
class AnswerCheck {
 public:
  AnswerCheck(const Blob& blob, PartialFile& part) : blob_(blob), part_(part) {}

  void operator()(const HttpHead& head) {
    require_same_file(head);
    if (head.status == 416) {
      const std::string mistake = cat("no rest from ", part_.size());
      part_.restart();
      part_.contradict(mistake, cat(blob_.url, ": the server does not have the rest of the file"));
    }
    if (head.status >= 300) return;
    if (head.status != 206) {
      if (part_.size() > 0) part_.restart();  // the server sends all of it
      if (const std::string length = head.field("content-length"); !length.empty() && length != cat(blob_.size))
        part_.contradict("length " + length, cat(blob_.url, ": ", io::visible(length.substr(0, 100)),
                                                 " bytes are offered, the listing says ", blob_.size));
      return;
    }
    const std::string wanted = cat("bytes ", part_.size(), "-", blob_.size - 1, "/", blob_.size);
    if (const std::string range = head.field("content-range"); range != wanted) {
      part_.restart();
      part_.contradict("range " + range, cat(blob_.url, ": got the range \"", io::visible(range.substr(0, 100)),
                                             "\", wanted \"", wanted, "\""));
    }
  }

 private:
  /// X-Linked-Etag is the SHA-256 of a large file on Hugging Face; other servers' ETags say nothing about content.
  void require_same_file(const HttpHead& head) const {
    std::string etag = head.field("x-linked-etag");
    if (etag.starts_with("W/")) etag.erase(0, 2);
    if (etag.size() >= 2 && etag.front() == '"') etag = etag.substr(1, etag.size() - 2);
    if (etag.empty() || blob_.hash.kind != Hash::Kind::sha256 || etag == blob_.hash.hex) return;
    fail(blob_.url, ": its ETag is ", io::visible(etag.substr(0, 100)), ", the listing says ", blob_.hash.hex,
         ": the file has changed meanwhile; run again");
  }

  const Blob& blob_;
  PartialFile& part_;
};

/// One attempt. on_bytes() is called after each piece.
inline void get_rest(const Client& client, const Blob& blob, PartialFile& part, const std::function<void()>& on_bytes) {
  AnswerCheck check(blob, part);
  try {
    client.get(blob.url, part.size(),
               {.head = [&](const HttpHead& head) { check(head); },
                .body =
                    [&](std::span<const std::byte> bytes) {
                      part.append(bytes);
                      on_bytes();
                    }});
  } catch (const Unreachable& error) {  // the hub was reached before: its storage may be away for a moment
    throw Temporary(cat(blob.url, ": ", error.what()));
  }
}

}  // namespace detail

/// Follows the transfer of one file.
struct TransferWatch {
  std::function<void(std::int64_t)> bytes;  ///< so many more are there (or, after a restart, fewer)
  std::function<void(int, int)> next_attempt = [](int, int) {};  ///< as AttemptWatch has it
};

/// Bytes after which a connection that breaks has been worth its while: a server that sends one and breaks off would
/// otherwise be asked for ever.
inline constexpr std::uint64_t worthwhile_bytes = 64 << 10;

namespace detail {

/// One attempt to get the rest of a file and to put it in place.
inline void get_whole(const Client& client, const Blob& blob, const BlobFiles& place, PartialFile& part,
                      const std::function<void()>& on_bytes) {
  if (!part.checks() && part.size() < blob.size) part.restart();
  bool came = false;
  if (part.size() < blob.size || blob.size == 0) get_rest(client, blob, part, [&] { came = true, on_bytes(); });
  if (part.size() < blob.size) {
    const std::string message = cat(blob.url, ": ended after ", part.size(), " of ", blob.size, " bytes");
    if (!came) throw Temporary(message);  // storage that is away for a moment
    part.contradict(cat("end ", part.size()), message);
  }
  part.commit(place.file);
}

}  // namespace detail

/// Fetches one file to its place, whose lock the caller holds. A broken connection continues where it broke; a file
/// whose content is wrong is fetched anew, once.
inline void fetch_blob(const Client& client, const Blob& blob, const BlobFiles& place, const TransferWatch& watch) {
  detail::PartialFile part(place.aside, blob);
  std::int64_t reported = 0;
  AttemptWatch::Time last_bytes = std::chrono::steady_clock::now();
  const auto report = [&] {
    const auto size = static_cast<std::int64_t>(part.size());
    watch.bytes(size - std::exchange(reported, size));
  };
  report();
  std::uint64_t counted = part.size();
  const auto last_progress = [&]() -> std::optional<AttemptWatch::Time> {
    report();
    if (part.size() < counted + worthwhile_bytes) return std::nullopt;
    counted = part.size();
    return last_bytes;
  };
  const auto on_bytes = [&] { report(), last_bytes = std::chrono::steady_clock::now(); };
  try {
    with_retries(client.retry(), [&] { detail::get_whole(client, blob, place, part, on_bytes); },
                 {.last_progress = last_progress, .next_attempt = watch.next_attempt});
  } catch (const Temporary& error) {
    throw Temporary(cat(error.what(), ": ", part.size(), " of ", blob.size, " bytes have come"), error.wait_s,
                    error.status);
  }
}

}  // namespace lamina::hub
