#pragma once
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include <lamina/core/error.hpp>

#include "programs/program.hpp"
#include "serve/loopback.hpp"
#include "support/error_of.hpp"

namespace lamina::testing {

/// lamina-serve on a Unix socket, as a user starts it.
class ServeProcess {
 public:
  ServeProcess(const std::filesystem::path& folder, const std::string& name, const std::string& words,
               const std::string& launcher = "")
      : socket_(folder / (name + ".socket")),
        pid_file_(folder / (name + ".pid")),
        has_adapter_(contains(words, "--enable-lora")) {
    const std::string command =
        cat("sh -c 'echo $$ > ", pid_file_.string(), "; exec \"$@\"' - ", launcher, LAMINA_BIN_DIR "/lamina-serve ",
            (folder / "model").string(), " --device cpu --max-model-len 400 --max-num-seqs 6 --block-size 16 ",
            "--kv-cache-memory-bytes 8M --served-model-name tiny --uds ", socket_.string(), " ", words);
    program_ = std::async(std::launch::async, [command] { return run_command(command); });
    for (int trial = 0; trial < 600 && !std::filesystem::exists(socket_) && !ended(0); ++trial)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ~ServeProcess() {
    if (program_.valid() && !ended(0)) send(SIGTERM), program_.wait();
  }
  nlohmann::json ask(const nlohmann::json& body) const {
    const auto reply = test::Client(socket_).ask("POST", "/v1/chat/completions", body.dump());
    if (reply.status != 200) fail("status ", reply.status, ": ", reply.body);
    return nlohmann::json::parse(reply.body)["choices"][0];
  }
  pid_t pid() const {
    pid_t pid = 0;
    std::ifstream(pid_file_) >> pid;
    return pid;
  }
  bool has_adapter() const { return has_adapter_; }
  void send(int signal) const { ::kill(pid(), signal); }
  /// A process that it has started.
  pid_t child() const {
    pid_t pid = 0;
    std::ifstream(cat("/proc/", this->pid(), "/task/", this->pid(), "/children")) >> pid;
    return pid;
  }
  bool ended(int within_s) const {
    return program_.wait_for(std::chrono::seconds(within_s)) == std::future_status::ready;
  }
  Program result() { return program_.get(); }

 private:
  std::filesystem::path socket_, pid_file_;
  bool has_adapter_;
  std::future<Program> program_;
};

}  // namespace lamina::testing
