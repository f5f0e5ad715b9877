#pragma once
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/io/file.hpp>
#include <lamina/train/loop/trainer_state.hpp>

namespace lamina::train {

/// Creates output_dir and proves that files can be written there, before hours of training depend on it.
inline void require_writable(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error || !std::filesystem::is_directory(directory))
    fail("output_dir: ", directory.string(), " cannot be created: ", error ? error.message() : "a file is in the way",
         ": choose another output_dir");
  const std::filesystem::path probe = directory / ".lamina-write-test";
  try {
    io::write_text(probe, "lamina");
  } catch (const Error& e) {
    fail("output_dir: ", directory.string(), " is not writable: ", e.what(), ": choose another output_dir");
  }
  std::filesystem::remove(probe, error);
}

/// Brings a file's bytes to the disk: for copies, which nobody else made durable.
inline void sync_file(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

/// A directory that appears under its name only when it is whole: written aside as ".<name>.incomplete", renamed by
/// commit(). Without commit() it is removed; after a kill it stays aside until the next one of its name.
class StagedDirectory {
 public:
  explicit StagedDirectory(std::filesystem::path target) : target_(std::move(target)) {
    aside_ = target_.parent_path() / ("." + target_.filename().string() + ".incomplete");
    std::error_code error;
    std::filesystem::remove_all(aside_, error);
    std::filesystem::create_directories(aside_, error);
    if (error) fail(target_.string(), ": cannot be created: ", error.message());
  }
  ~StagedDirectory() {
    std::error_code ignored;
    if (!committed_) std::filesystem::remove_all(aside_, ignored);
  }
  StagedDirectory(const StagedDirectory&) = delete;
  StagedDirectory& operator=(const StagedDirectory&) = delete;

  /// Where to write.
  const std::filesystem::path& path() const { return aside_; }

  /// Replaces a directory of the same name that an earlier run left.
  void commit() {
    for (const auto& entry : std::filesystem::directory_iterator(aside_)) sync_file(entry.path());
    io::sync_folder(aside_);
    std::error_code error;
    std::filesystem::remove_all(target_, error);
    std::filesystem::rename(aside_, target_, error);
    if (error) fail(target_.string(), ": cannot be put in place: ", error.message());
    committed_ = true;
    io::sync_folder(target_.parent_path());
  }

 private:
  std::filesystem::path target_, aside_;
  bool committed_ = false;
};

/// A directory named checkpoint-N.
struct FoundCheckpoint {
  std::filesystem::path path;
  std::int64_t step = 0;
};

/// All checkpoint-N of a directory, lowest step first.
inline std::vector<FoundCheckpoint> list_checkpoints(const std::filesystem::path& output_dir) {
  std::vector<FoundCheckpoint> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(output_dir, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("checkpoint-") || !entry.is_directory()) continue;
    FoundCheckpoint c{entry.path(), 0};
    const char* end = name.data() + name.size();
    if (const auto r = std::from_chars(name.data() + 11, end, c.step);
        r.ec == std::errc() && r.ptr == end && c.step >= 0)
      found.push_back(std::move(c));
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step < b.step; });
  return found;
}

/// Why a checkpoint cannot be resumed from, or nothing if it is whole: its state, its weights and, if the state of
/// the optimizer is ours, that too, must be readable to the last byte that their headers promise.
inline std::optional<std::string> broken_reason(const std::filesystem::path& directory) {
  try {
    read_trainer_state(directory / "trainer_state.json");
    checkpoint::Checkpoint::open(directory);
    if (std::filesystem::exists(directory / "rng.json"))
      checkpoint::Checkpoint::open(directory / "optimizer.safetensors");
    return std::nullopt;
  } catch (const std::exception& e) {
    return e.what();
  }
}

/// The whole checkpoint with the highest step; `say` is called for each broken one, which is passed over.
inline std::optional<FoundCheckpoint> newest_checkpoint(const std::filesystem::path& output_dir,
                                                        const std::function<void(const std::string&)>& say) {
  auto found = list_checkpoints(output_dir);
  for (auto at = found.rbegin(); at != found.rend(); ++at) {
    const auto reason = broken_reason(at->path);
    if (!reason) return *at;
    say(cat("warning: ", at->path.string(), " is not whole and is passed over: ", *reason));
  }
  return std::nullopt;
}

/// save_total_limit: removes the checkpoints that were saved first until `limit` are left; never the best one, never
/// `newest`, which was just saved.
inline void rotate_checkpoints(const std::filesystem::path& output_dir, std::int64_t limit,
                               const std::optional<std::string>& best, const std::filesystem::path& newest) {
  auto found = list_checkpoints(output_dir);
  std::error_code error;
  std::stable_sort(found.begin(), found.end(), [&](const auto& a, const auto& b) {
    return std::filesystem::last_write_time(a.path, error) < std::filesystem::last_write_time(b.path, error);
  });
  auto excess = static_cast<std::int64_t>(found.size()) - limit;
  for (const FoundCheckpoint& c : found) {
    if (excess <= 0) break;
    if (c.path.filename() == newest.filename() ||
        (best && c.path.filename() == std::filesystem::path(*best).filename()))
      continue;
    std::filesystem::remove_all(c.path, error);
    --excess;
  }
}

}  // namespace lamina::train
