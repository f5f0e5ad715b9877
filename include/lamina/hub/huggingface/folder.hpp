#pragma once
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include <lamina/hub/disk/note.hpp>
#include <lamina/hub/disk/store.hpp>

namespace lamina::hub {

/// A folder of the user's with files of Hugging Face. What they are is noted below .cache/huggingface/download, one
/// file with commit, hash and time for each, so that Hugging Face's client need not fetch them again, nor we what it
/// fetched. source  huggingface_hub: _local_folder.py
class HuggingFaceFolder final : public Store {
 public:
  HuggingFaceFolder(std::filesystem::path folder, std::string commit)
      : folder_(std::move(folder)), commit_(std::move(commit)) {}

  std::filesystem::path folder() const override { return folder_; }
  bool has_content(const RemoteFile& file) const override {
    const auto path = folder_ / file.path;
    if (!detail::has_size(path, file.size)) return false;
    return is_noted(path, file) || detail::is_content(path, file);
  }
  BlobFiles place(const RemoteFile& file) const override {
    return {folder_ / file.path, aside(file), note_path(file, ".lock")};
  }
  bool has(const RemoteFile& file) const override {
    const auto path = folder_ / file.path;
    return detail::has_size(path, file.size) && is_noted(path, file);
  }
  void finish(const RemoteFile& file) const override {
    const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
    const auto path = note_path(file, ".metadata");
    make_folders(path.parent_path());
    std::error_code ignored;
    std::filesystem::remove(path, ignored);  // it may be a link or a pipe
    // Not synced to the disk: without a note, or with half of one, the file is hashed.
    std::ofstream(path) << commit_ << "\n" << file.hash.hex << "\n" << std::to_string(now.count()) << "\n";
  }

 private:
  /// PATH.HASH.incomplete; if such a name is too long for a file system, a hash takes the name's place, as
  /// Hugging Face's client has it for all: it ends with "=".
  std::filesystem::path aside(const RemoteFile& file) const {
    constexpr std::size_t most_bytes = 255;
    const auto path = note_path(file, cat(".", file.hash.hex, ".incomplete"));
    const std::string name = path.filename().string();
    if (name.size() <= most_bytes) return path;
    return path.parent_path() / cat(sha256_of(name).substr(0, 27), "=.", file.hash.hex, ".incomplete");
  }
  std::filesystem::path note_path(const RemoteFile& file, const std::string& extension) const {
    return folder_ / ".cache" / "huggingface" / "download" / (file.path + extension);
  }
  /// True if the note names this hash, and the file was not written after it.
  bool is_noted(const std::filesystem::path& path, const RemoteFile& file) const {
    const auto note = note_path(file, ".metadata");
    std::error_code error;
    const auto noted = std::filesystem::last_write_time(note, error);
    if (error) return false;
    const auto lines = detail::note_lines(note);  // the commit, the hash
    return lines.size() > 1 && lines[1] == file.hash.hex &&
           std::filesystem::last_write_time(path, error) <= noted + std::chrono::seconds(1) && !error;
  }

  std::filesystem::path folder_;
  std::string commit_;
};

}  // namespace lamina::hub
