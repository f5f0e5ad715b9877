#pragma once
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include <lamina/core/error.hpp>
#include <lamina/train/report/trackers/tracker.hpp>

extern "C" char** environ;  // NOLINT: POSIX

namespace lamina::train {

/// A tracking service's official Python package, in a process of the user's own Python that reads JSON lines: first
/// the run's name and settings, then entries of log_history.
class PythonTracker final : public Tracker {
 public:
  /// package: wandb or swanlab. start: what its script reads first. Error if that Python does not have the package.
  PythonTracker(std::string package, const OrderedJson& start) : package_(std::move(package)) {
    start_process();
    wait_for_import();
    send(start);
  }
  ~PythonTracker() override { stop(std::chrono::seconds(0)); }
  PythonTracker(const PythonTracker&) = delete;
  PythonTracker& operator=(const PythonTracker&) = delete;

  std::string_view name() const override { return package_; }
  void log(const OrderedJson& entry) override { send(entry); }
  /// Gives the package a minute to send what it has.
  void finish(bool) override { stop(std::chrono::seconds(60)); }

  /// The Python that runs it.
  static std::string python() {
    const char* named = std::getenv("LAMINA_PYTHON");
    return named && *named ? named : "python3";
  }

 private:
  static constexpr int import_s = 60, send_s = 10;

  /// Where the package logs, after its own integration with transformers.
  static const char* script_of(const std::string& package) {
    if (package == "wandb")
      return R"(
import json, os, sys
import wandb
os.write(0, b"+")
start = json.loads(sys.stdin.readline())
run = wandb.init(project=start["project"], name=start["name"], config=start["settings"], dir=start["folder"])
run.define_metric("train/global_step")
run.define_metric("*", step_metric="train/global_step", step_sync=True)
for line in sys.stdin:
    entry = json.loads(line)
    entry["train/global_step"] = entry.pop("step")
    run.log({k if "/global" in k else ("eval/" + k[5:] if k.startswith("eval_") else "train/" + k): v for k, v in entry.items()})
run.finish()
)";
    return R"(
import json, os, sys
import swanlab
os.write(0, b"+")
start = json.loads(sys.stdin.readline())
if start["api_key"]:
    swanlab.login(api_key=start["api_key"])
swanlab.init(project=start["project"], workspace=start["workspace"], experiment_name=start["name"], mode=start["mode"],
             logdir=start["folder"], config=start["settings"])
for line in sys.stdin:
    entry = json.loads(line)
    step = entry.pop("step")
    entry = {k: v for k, v in entry.items() if isinstance(v, (int, float))}
    swanlab.log({"eval/" + k[5:] if k.startswith("eval_") else "train/" + k: v for k, v in entry.items()}, step=step)
swanlab.finish()
)";
  }

  void start_process() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail("socketpair: ", std::strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 0);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);  // its words go where warnings go
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);  // Ctrl-C is this process's to handle
    std::string program = python(), flag = "-c", script = script_of(package_);
    char* const words[] = {program.data(), flag.data(), script.data(), nullptr};
    const int error = ::posix_spawnp(&pid_, program.c_str(), &actions, &attributes, words, environ);
    posix_spawn_file_actions_destroy(&actions), posix_spawnattr_destroy(&attributes);
    ::close(ends[1]);
    socket_ = ends[0];
    const timeval patience{.tv_sec = send_s, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (error == 0) return;
    pid_ = 0;
    ::close(std::exchange(socket_, -1));
    fail(program, " cannot be started: ", std::strerror(error));
  }
  void wait_for_import() {
    pollfd wanted{.fd = socket_, .events = POLLIN, .revents = 0};
    char sign = 0;
    if (::poll(&wanted, 1, import_s * 1000) > 0 && ::recv(socket_, &sign, 1, 0) == 1) return;
    stop(std::chrono::seconds(0));
    fail(python(), " does not have the package ", package_, ": pip install ", package_,
         ", or let LAMINA_PYTHON name a Python that has it");
  }
  void send(const OrderedJson& line) {
    const std::string text = line.dump(-1, ' ', true) + "\n";
    for (std::size_t at = 0; at < text.size();) {
      const auto sent = ::send(socket_, text.data() + at, text.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) fail("its process ", errno == EAGAIN ? "does not read" : "has ended");
      at += static_cast<std::size_t>(sent);
    }
  }
  /// Ends the process: by the end of its input, or else with a signal.
  void stop(std::chrono::seconds patience) {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
    if (pid_ == 0) return;
    const auto until = std::chrono::steady_clock::now() + patience;
    int status = 0;
    while (::waitpid(pid_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() >= until) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, &status, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    pid_ = 0;
  }

  std::string package_;
  pid_t pid_ = 0;
  int socket_ = -1;
};

}  // namespace lamina::train
