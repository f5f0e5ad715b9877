#pragma once
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/core/log.hpp>
#include <lamina/core/machine/environment.hpp>
#include <lamina/core/machine/resources.hpp>
#include <lamina/parallel/launcher.hpp>
#include <lamina/parallel/tcp/tcp_group.hpp>

extern char** environ;

namespace lamina::parallel {

namespace detail {
/// The environment variable with the id of the process that started this one as a rank.
inline constexpr const char* starter_variable = "LAMINA_STARTED_BY";

/// The environment of another rank: this process's, with that rank's place.
inline std::vector<std::string> environment_of(const Launch& rank) {
  const Place& p = rank.place;
  std::vector<std::string> out = {cat("RANK=", p.rank),
                                  cat("WORLD_SIZE=", p.size),
                                  cat("LOCAL_RANK=", p.local_rank),
                                  cat("LOCAL_WORLD_SIZE=", p.local_size),
                                  cat("MASTER_ADDR=", rank.master_addr),
                                  cat("MASTER_PORT=", rank.master_port),
                                  cat(pass_variable, "=", rank.pass),
                                  cat(starter_variable, "=", ::getpid())};
  const auto is_set = [&](std::string_view entry) {
    const std::string_view name = entry.substr(0, entry.find('=') + 1);
    for (const std::string& own : out)
      if (own.starts_with(name)) return true;
    return false;
  };
  for (char** entry = environ; *entry; ++entry)
    if (!is_set(*entry)) out.emplace_back(*entry);
  return out;
}
inline std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}
}  // namespace detail

/// Starts the other ranks of this host as processes with this one's own command line; this process is rank 0. If one of
/// them ends early, all end. They are started anew, not forked, so that this process may already use CUDA and threads.
class StartedRanks {
 public:
  /// Error if a process cannot be started.
  explicit StartedRanks(int ranks) : listener_(std::make_unique<Listener>(0, Reach::this_host)) {
    launch_ = {.by = Launcher::torchrun,
               .place = {.rank = 0, .size = ranks, .local_rank = 0, .local_size = ranks},
               .master_addr = "127.0.0.1",
               .master_port = listener_->port(),
               .agent_store = false,
               .pass = draw_pass()};
    pids_ = std::vector<std::atomic<pid_t>>(static_cast<std::size_t>(ranks - 1));
    for (std::size_t i = 0; i < pids_.size(); ++i) pids_[i] = start(static_cast<int>(i) + 1);
    for (std::size_t i = 0; i < pids_.size(); ++i) watchers_.emplace_back([this, i] { watch(i); });
  }
  /// Waits up to 10 s for the others, which the program has asked to end, then kills those that are left; after an
  /// error at once.
  ~StartedRanks() {
    leaving_ = true;
    const auto patience = std::chrono::seconds(std::uncaught_exceptions() > 0 ? 0 : 10);
    const auto until = std::chrono::steady_clock::now() + patience;
    while (ended_ < static_cast<int>(pids_.size()) && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    for (std::size_t i = 0; i < pids_.size(); ++i) kill_rank(i);
    for (std::thread& watcher : watchers_) watcher.join();
  }
  StartedRanks(const StartedRanks&) = delete;
  StartedRanks& operator=(const StartedRanks&) = delete;

  /// The launch of this process.
  const Launch& launch() const { return launch_; }
  /// The listener to which the others connect; can be taken once.
  std::unique_ptr<Listener> take_listener() { return std::move(listener_); }

 private:
  pid_t start(int rank) const {
    Launch launch = launch_;
    launch.place.rank = launch.place.local_rank = rank;
    std::vector<std::string> words, environment = detail::environment_of(launch);
    const std::string line = lamina::detail::read_small_file("/proc/self/cmdline");
    for (std::size_t at = 0; at < line.size(); at = line.find('\0', at) + 1) words.emplace_back(line.c_str() + at);
    pid_t pid = 0;
    const int error = ::posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, detail::pointers_to(words).data(),
                                    detail::pointers_to(environment).data());
    if (error != 0) fail("starting rank ", rank, ": ", std::strerror(error));
    return pid;
  }
  void watch(std::size_t i) {
    int status = 0;
    ::waitpid(pids_[i], &status, 0);
    pids_[i] = 0;
    ++ended_;
    if (leaving_ || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) return;  // it was asked to end
    log_error(log_name(), ": rank ", i + 1, " of ", launch_.place.size, " has ended (",
              WIFSIGNALED(status) ? cat("signal ", WTERMSIG(status)) : cat("status ", WEXITSTATUS(status)),
              "), so all ranks end");
    for (std::size_t k = 0; k < pids_.size(); ++k) kill_rank(k);
    std::_Exit(1);
  }
  void kill_rank(std::size_t i) {
    if (const pid_t pid = pids_[i]; pid > 0) ::kill(pid, SIGKILL);
  }

  std::unique_ptr<Listener> listener_;
  Launch launch_;
  std::vector<std::atomic<pid_t>> pids_;
  std::atomic<int> ended_ = 0;
  std::atomic<bool> leaving_ = false;
  std::vector<std::thread> watchers_;
};

/// In a process that a StartedRanks has started: makes it end when its starter ends, even before it has joined the
/// group.
inline void end_with_starter() {
  const char* starter = std::getenv(detail::starter_variable);
  if (!starter) return;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  const auto id = whole_number(starter);
  if (!id) io::usage(detail::starter_variable, " (environment): is ", starter, ", wanted what rank 0 gives its ranks");
  if (::getppid() != *id)
    fail(detail::starter_variable, " (environment): process ", *id, ", which started this rank, has ended");
}

}  // namespace lamina::parallel
