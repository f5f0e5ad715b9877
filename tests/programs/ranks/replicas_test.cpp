// Servers behind nginx, with the configuration of examples/several_gpus.md.
#include <chrono>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include <lamina/engine/open.hpp>
#include <lamina/serve/http.hpp>
#include <lamina/serve/routes/routes.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// The page's configuration with these ports in place of its own.
std::string page_configuration(int listen, int first, int second) {
  std::ifstream page(LAMINA_SOURCE_DIR "/examples/several_gpus.md");
  std::string text;
  for (std::string line; std::getline(page, line);)
    if (line.starts_with("    upstream") || (!text.empty() && line.starts_with("    ")))
      text += line + "\n";
    else if (!text.empty())
      break;
  const auto put = [&](const std::string& old, const std::string& now) {
    REQUIRE(contains(text, old));
    text.replace(text.find(old), old.size(), now);
  };
  put("listen 8000", cat("listen 127.0.0.1:", listen));
  put("127.0.0.1:8003", cat("127.0.0.1:", first));
  put("127.0.0.1:8004", cat("127.0.0.1:", second));
  return text;
}

/// A whole file of nginx that writes into a folder alone, and there which server answered.
fs::path write_configuration(const fs::path& folder, const std::string& server) {
  const fs::path path = folder / "nginx.conf";
  std::ofstream out(path);
  out << "worker_processes 1; error_log " << (folder / "error.log").string() << "; pid " << (folder / "pid").string()
      << ";\nevents {}\nhttp {\nlog_format upstream '$upstream_addr';\naccess_log " << (folder / "access.log").string()
      << " upstream;\n";
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"})
    out << kind << "_temp_path " << (folder / kind).string() << ";\n";
  out << server << "}\n";
  return path;
}

}  // namespace

TEST_CASE("serving: nginx deals requests to two servers, with the configuration of the page, and streams pass") {
  const std::string nginx = "PATH=$PATH:/usr/sbin nginx -c ";
  if (run_command("PATH=$PATH:/usr/sbin command -v nginx").status != 0) {
    WARN("SKIPPED: no nginx");
    return;
  }
  const TemporaryFolder folder;
  const std::string dir = (folder.path() / "nano").string();
  REQUIRE(make_model("qwen3_vl_nano", dir).status == 0);
  engine::EngineOptions options;
  options.max_model_len = 256;
  options.device = "cpu";
  serve::ChatService service(serve::ModelFiles::load(dir), open_for_engine(dir, options), {.served_names = {"nano"}});
  serve::Routes routes(service, {.access_log = false});
  serve::HttpServer first({.host = "127.0.0.1", .port = 0, .threads = 1}, routes),
      second({.host = "127.0.0.1", .port = 0, .threads = 1}, routes);
  const int port = 20000 + ::getpid() % 20000;
  const fs::path conf = write_configuration(folder.path(), page_configuration(port, first.port(), second.port()));
  const Program started = run_command(nginx + conf.string());
  INFO(started.output);
  REQUIRE(started.status == 0);
  for (const char* stream : {"true", "false", "true", "false"}) {
    const Program answer = run_command(cat("curl -sN -m 60 http://127.0.0.1:", port,
                                           "/v1/chat/completions -H 'content-type: application/json' -d ",
                                           quoted(cat(R"({"model":"nano","max_tokens":4,"stream":)", stream,
                                                      R"(,"messages":[{"role":"user","content":"Hi"}]})"))));
    INFO(answer.output);
    CHECK(contains(answer.output, std::string(stream) == "true" ? "data: [DONE]" : "\"chat.completion\""));
  }
  run_command(nginx + conf.string() + " -s quit");
  for (int tries = 0; tries < 500 && fs::exists(folder.path() / "pid"); ++tries)  // its last act in this folder
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(!fs::exists(folder.path() / "pid"));
  std::ifstream log(folder.path() / "access.log");
  std::set<std::string> servers;
  for (std::string line; std::getline(log, line);) servers.insert(line);
  CHECK(servers.size() == 2);
  first.stop();
  second.stop();
  service.stop();
}
