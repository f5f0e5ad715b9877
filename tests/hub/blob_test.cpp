#include <sys/file.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <string>
#include <thread>

#include <lamina/hub/disk/blob.hpp>
#include <lamina/io/file.hpp>

#include "hub/hub_folder.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {
const hub::Blob without_hash{"http://hub.test/a", 6, {}};
const hub::Blob with_hash{"http://hub.test/a", 6, {hub::Hash::Kind::sha256, std::string(64, '0')}};

void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
}  // namespace

TEST_CASE("Blob: what has come is gone on with if a hash can tell the whole from another file, and only then") {
  const TemporaryFolder folder;
  const fs::path aside = folder.path() / "a.incomplete";
  write(aside, "abc");
  CHECK(hub::detail::PartialFile(aside, with_hash).size() == 3);
  CHECK(fs::file_size(aside) == 3);
  CHECK(hub::detail::PartialFile(aside, without_hash).size() == 0);
  CHECK_FALSE(fs::exists(aside));
}

TEST_CASE("Blob: a link where a file is written is refused, and what it leads to stays") {
  const TemporaryFolder folder;
  const fs::path target = folder.path() / "keys", aside = folder.path() / "a.incomplete";
  write(target, "mine");
  fs::create_symlink(target, aside);
  CHECK(contains(error_of([&] { hub::detail::PartialFile(aside, with_hash); }),
                 "a.incomplete: cannot write here: it is a link"));
  CHECK(io::read_text(target) == "mine");
  CHECK_FALSE(error_of([&] { hub::FileLock(aside, "a"); }).empty());
}

TEST_CASE("Blob: two processes with locks of their own do not write one file at a time") {
  const TemporaryFolder folder;
  const fs::path aside = folder.path() / "a.incomplete", file = folder.path() / "a";
  write(aside, "abc");
  const int other = ::open(aside.c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(::flock(other, LOCK_EX | LOCK_NB) == 0);
  std::thread ends([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    fs::rename(aside, file);  // its file is whole
    ::close(other);
  });
  std::string notes;
  notes = notes_of([&] { CHECK(hub::detail::PartialFile(aside, with_hash).size() == 0); });
  ends.join();
  CHECK(contains(notes, "waiting for another process that fetches a.incomplete"));
  CHECK(io::read_text(file) == "abc");
}

TEST_CASE("Blob: a file with another name, and what is no file, are refused and stay as they are") {
  const TemporaryFolder folder;
  const fs::path other = folder.path() / "keys", aside = folder.path() / "a.incomplete";
  write(other, "mine");
  fs::create_hard_link(other, aside);
  CHECK(contains(error_of([&] { hub::detail::PartialFile(aside, with_hash); }),
                 "a.incomplete: has another name too (a hard link): remove it; nothing was written"));
  CHECK(io::read_text(other) == "mine");
  fs::remove(aside);
  REQUIRE(::mkfifo(aside.c_str(), 0600) == 0);
  CHECK(
      contains(error_of([&] { hub::detail::PartialFile(aside, with_hash); }), "is not a file that can be written to"));
}

TEST_CASE("Blob: the lock is held until the file has its name") {
  const TemporaryFolder folder;
  const fs::path aside = folder.path() / "a.incomplete", file = folder.path() / "a";
  const std::string content = "abcdef";
  const hub::Blob blob{"http://hub.test/a", content.size(), {hub::Hash::Kind::sha256, hub::sha256_of(content)}};
  hub::detail::PartialFile part(aside, blob);
  part.append(std::as_bytes(std::span(content)));
  std::atomic<bool> torn = false, stop = false;
  std::thread waits([&] {  // another process that wants to write aside: once it has the lock, the name is free
    const int fd = ::open(aside.c_str(), O_RDWR | O_CLOEXEC);
    while (::flock(fd, LOCK_EX | LOCK_NB) != 0 && !stop) std::this_thread::yield();
    torn = !stop && fs::exists(aside);
    ::close(fd);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  part.commit(file);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  stop = true;
  waits.join();
  CHECK_FALSE(torn);
  CHECK(io::read_text(file) == content);
}
