#pragma once
#include <lamina/core/error.hpp>
#include <lamina/core/threads/cancelled.hpp>
#include <lamina/vision/video/video_file.hpp>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <stop_token>
#include <string>
#include <utility>

namespace lamina::vision {

/// Bounds of the work that one video may cause, in the process that decodes it.
struct VideoLimits {
  std::int64_t max_pixels = std::int64_t{8192} * 8192;        ///< of a frame
  std::uint64_t max_memory_bytes = std::uint64_t{2} << 30;    ///< address space of the process
  std::chrono::seconds max_time = std::chrono::seconds(600);  ///< from its start to its last frame, and processor time
  std::stop_token stop{};                                     ///< ends decoding early, with an error
};

namespace detail {

/// The program that decodes: next to this one, where builds and packages put it.
inline std::filesystem::path decoder_program(const std::string& name) {
  std::error_code error;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const auto program = folder / "lamina-decode-video";
  if (!std::filesystem::exists(program, error))
    fail(
        "video ", name, ": ", program.string(),
        " is missing, which decodes videos: it is built if FFmpeg's libraries are found; cmake/install-dependencies.sh "
        "installs them (libavformat-dev libavcodec-dev libswscale-dev), then build again");
  return program;
}

/// A pipe whose ends close with it.
struct Pipe {
  std::array<int, 2> ends{-1, -1};
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail("pipe: ", std::strerror(errno));
  }
  Pipe(const Pipe&) = delete;
  ~Pipe() { close(0), close(1); }
  void close(int end) {
    if (const int descriptor = std::exchange(ends[static_cast<std::size_t>(end)], -1); descriptor >= 0)
      ::close(descriptor);
  }
};

/// A decoder at work on one video. It is started anew, not forked, so that threads and CUDA may be in use here and its
/// memory holds nothing of this process; it ends with this object at the latest.
class DecoderProcess {
 public:
  /// what: facts, count, count:N or numbers of frames. Error if it cannot be started.
  DecoderProcess(const VideoFile& file, const std::string& what, const VideoLimits& limits)
      : name_(file.name()), limits_(limits), until_(Clock::now() + limits.max_time) {
    std::string program = decoder_program(name_).string(), memory = std::to_string(limits.max_memory_bytes),
                seconds = std::to_string(std::max<std::int64_t>(limits.max_time.count(), 1)),
                pixels = std::to_string(limits.max_pixels), task = what;
    char* const words[] = {program.data(), memory.data(), seconds.data(), pixels.data(), task.data(), nullptr};
    char* const environment[] = {nullptr};
    ::fcntl(out_.ends[1], F_SETPIPE_SZ, 1 << 20);  // fewer switches between the two; a smaller one does as well
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, file.descriptor(), 0);
    ::posix_spawn_file_actions_adddup2(&actions, out_.ends[1], 1);
    ::posix_spawn_file_actions_adddup2(&actions, messages_.ends[1], 2);
    const int error = ::posix_spawn(&pid_, program.c_str(), &actions, nullptr, words, environment);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) fail("video ", name_, ": starting ", program, ": ", std::strerror(error));
    out_.close(1), messages_.close(1);
  }
  DecoderProcess(const DecoderProcess&) = delete;
  ~DecoderProcess() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
  }

  /// Reads bytes of its output. Error, with the reason of the process, if they do not come in time or at all.
  void operator()(void* to, std::size_t count) {
    auto* at = static_cast<char*>(to);
    while (count > 0) {
      wait_for_output();
      const ssize_t n = ::read(out_.ends[0], at, count);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) fail("video ", name_, ": ", reason());
      at += n, count -= static_cast<std::size_t>(n);
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  /// Looks at the stop token and the clock ten times a second.
  void wait_for_output() {
    for (;;) {
      if (limits_.stop.stop_requested()) throw Cancelled();
      if (Clock::now() > until_) fail("video ", name_, ": ", too_slow());
      pollfd wanted{out_.ends[0], POLLIN, 0};
      if (::poll(&wanted, 1, 100) > 0) return;
    }
  }
  std::string too_slow() const {
    return cat("decoding takes more than ", limits_.max_time.count(), " s: cut it, or scale it down");
  }

  /// Why it ended.
  std::string reason() {
    std::string said(400, '\0');
    const ssize_t n = ::read(messages_.ends[0], said.data(), said.size());
    said.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    said.resize(std::min(said.find('\n'), said.size()));
    for (char& c : said)
      if (!std::isprint(static_cast<unsigned char>(c))) c = '?';
    const int status = wait();
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL)) return too_slow();
    if (WIFSIGNALED(status))
      return cat("FFmpeg's decoder crashed on it (signal ", WTERMSIG(status), "): the file is broken");
    if (said.find(std::strerror(ENOMEM)) != said.npos || said.find("out of memory") != said.npos)
      return cat("decoding takes more than ", limits_.max_memory_bytes >> 20, " MiB of memory: scale it down");
    return said.empty() ? cat("the decoder ended early, with status ", WEXITSTATUS(status)) : said;
  }
  int wait() {
    int status = 0;
    if (const pid_t pid = std::exchange(pid_, 0); pid > 0)
      while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
    return status;
  }

  std::string name_;
  const VideoLimits& limits_;
  Clock::time_point until_;
  Pipe out_, messages_;
  pid_t pid_ = 0;
};

}  // namespace detail
}  // namespace lamina::vision
