// lamina-train --watch, as a user starts it: the page of a run under way, then of its folder.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <future>
#include <sstream>
#include <string>
#include <thread>

#include "programs/program.hpp"
#include "serve/loopback.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/python.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// lamina-train in the background, with a page on a port of its own.
class WatchedProgram {
 public:
  WatchedProgram(const fs::path& folder, const std::string& words) : output_(folder / "output"), pid_(folder / "pid") {
    fs::remove(output_);
    const std::string command = cat("sh -c 'echo $$ > ", pid_.string(), "; exec \"$@\"' - ", LAMINA_BIN_DIR,
                                    "/lamina-train --watch 0 ", words, " > ", output_.string());
    program_ = std::async(std::launch::async, [command] { return run_command(command); });
    until([&] { return contains(output(), "/\n") && url() != ""; });
  }
  ~WatchedProgram() {
    if (program_.valid() && program_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) interrupt();
  }
  /// Waits, at most a minute, until it holds or the program has ended.
  template <class F>
  bool until(F holds) {
    for (int trial = 0; trial < 600; ++trial) {
      if (holds()) return true;
      if (program_.wait_for(std::chrono::milliseconds(100)) == std::future_status::ready) return holds();
    }
    return false;
  }
  std::string output() const {
    std::ostringstream text;
    text << std::ifstream(output_).rdbuf();
    return text.str();
  }
  std::string url() const {
    const std::string text = output();
    const std::size_t at = text.find("http://127.0.0.1:");
    return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
  }
  test::Client::Reply ask(const std::string& path) const {
    const auto port = static_cast<unsigned short>(std::stoi(url().substr(std::string("http://127.0.0.1:").size())));
    test::Client client(port);
    client.send("GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    return client.reply();
  }
  /// Ctrl-C; the exit status.
  int interrupt() {
    pid_t pid = 0;
    if (std::ifstream(pid_) >> pid) ::kill(pid, SIGINT);
    return program_.get().status;
  }

 private:
  fs::path output_, pid_;
  std::future<Program> program_;
};

bool has_browser() {
  return run_command("chromedriver --version && chromium --version && " + quoted(python()) + " -c 'import json'")
             .status == 0;
}

}  // namespace

TEST_CASE("lamina-train: --watch shows a run while it trains, and its folder afterwards") {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const std::string settings =
      cat("model_name_or_path=", (folder.path() / "model").string(), " output_dir=", out.string(),
          " dataset=skills dataset_dir=" LAMINA_SOURCE_DIR
          "/data template=qwen3_vl do_train=true "
          "logging_steps=1 lora_target=q_proj max_samples=8 device=cpu");
  {
    WatchedProgram run(folder.path(), settings + " max_steps=100000");
    INFO(run.output());
    REQUIRE(run.url() != "");
    CHECK(run.ask("/").status == 200);
    CHECK(run.until([&] { return contains(run.ask("/log").body, "\"current_steps\": 3,"); }));
    const std::string lines = run.ask("/log").body;
    for (const char* field : {"\"loss\": ", "\"lr\": ", "\"grad_norm\": ", "\"samples_per_second\": ",
                              "\"memory_gib\": ", "\"remaining_time\": "})
      CHECK(contains(lines, field));
    CHECK(run.interrupt() == 130);
  }
  WatchedProgram page(folder.path(), out.string());
  INFO(page.output());
  REQUIRE(page.url() != "");
  CHECK(page.ask("/run").body.find(R"("folder":"out")") != std::string::npos);
  CHECK(contains(page.ask("/log").body, "\"current_steps\": 3,"));
  CHECK(contains(page.ask("/state").body, "\"log_history\""));  // of the checkpoint
  if (has_browser()) {
    std::ifstream log(out / "trainer_log.jsonl");
    const auto steps = std::count(std::istreambuf_iterator<char>(log), {}, '\n');
    const Program browser = run_command(
        cat(quoted(python()), " " LAMINA_SOURCE_DIR "/tests/interop/run_page.py ", page.url(), " out ", steps));
    INFO(browser.output);
    CHECK(browser.status == 0);
  } else {
    WARN("SKIPPED: chromium, chromedriver (Debian: chromium-driver) or "
         << python() << " is missing: the page was served and not looked at");
  }
  const Program other =
      run_command(cat(LAMINA_BIN_DIR "/lamina-train --watch ", page.url().substr(7, page.url().size() - 8), " ",
                      settings, " max_steps=1 output_dir=", (folder.path() / "other").string()));
  INFO(other.output);  // the port is taken: a run does not end for that
  CHECK(other.status == 0);
  CHECK(contains(other.output, "the run goes on without its page"));
  CHECK(page.interrupt() == 0);

  CHECK(run_program("lamina-train", {"--watch", "0", (folder.path() / "none").string()}).status == 1);
}
