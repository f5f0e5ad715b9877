#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/io/file.hpp>
#include <lamina/train/report/log.hpp>
#include <lamina/train/save/checkpoints.hpp>

namespace lamina::serve {

/// What a run has written into its folder, read anew for each request. Names of files are fixed here: no request
/// chooses a path. A file that is missing, or is being replaced, is empty.
class RunFiles {
 public:
  explicit RunFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}
  const std::filesystem::path& folder() const { return folder_; }

  /// Whole lines of trainer_log.jsonl.
  struct Lines {
    std::string text;
    std::uint64_t from = 0, next = 0;  ///< places in the file, in bytes: of this text, and of the text after it
    std::int64_t age_s = 0;            ///< since the file was written
  };
  /// The lines from a byte on, at most piece_bytes of them; from the beginning if the file is shorter than that, as
  /// after another run has begun.
  Lines log(std::uint64_t from) const {
    Lines lines;
    try {
      const auto path = train::TrainerLog::path_in(folder_);
      const io::File file(path);
      lines.age_s = age_of(path);
      lines.from = lines.next = from <= file.size() ? from : 0;
      lines.text.resize(std::min(file.size() - lines.from, piece_bytes));
      file.read(lines.from, std::as_writable_bytes(std::span(lines.text)));
      const std::size_t end = lines.text.rfind('\n');
      if (end != std::string::npos) lines.text.resize(end + 1);
      if (end == std::string::npos && lines.text.size() < piece_bytes) lines.text.clear();  // a line that is not whole
      lines.next = lines.from + lines.text.size();
    } catch (const Error&) {
      lines.text.clear();
    }
    return lines;
  }

  /// trainer_state.json of the folder, or else of its last checkpoint; empty if there is none or it is too large.
  std::string state() const {
    try {
      if (const auto own = folder_ / state_name; std::filesystem::exists(own)) return io::read_text(own, state_bytes);
      const auto saved = train::list_checkpoints(folder_);
      return saved.empty() ? "" : io::read_text(saved.back().path / state_name, state_bytes);
    } catch (const std::exception&) {
      return {};
    }
  }

 private:
  static constexpr std::uint64_t piece_bytes = 1 << 20, state_bytes = 32 << 20;
  static constexpr const char* state_name = "trainer_state.json";

  static std::int64_t age_of(const std::filesystem::path& path) {
    std::error_code failed;
    const auto written = std::filesystem::last_write_time(path, failed);
    if (failed) return 0;
    const auto age = std::filesystem::file_time_type::clock::now() - written;
    return std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(age).count());
  }

  std::filesystem::path folder_;
};

}  // namespace lamina::serve
