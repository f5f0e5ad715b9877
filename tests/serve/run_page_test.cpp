#include <lamina/serve/run_page.hpp>

#include <filesystem>
#include <fstream>
#include <string>

#include "serve/loopback.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;
using namespace lamina::test;
namespace fs = std::filesystem;

namespace {

void add_text(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::app) << text; }

std::string field_of(const Client::Reply& reply, const std::string& name) {
  const auto at = reply.head.find("\r\n" + name + ": ");
  if (at == std::string::npos) return "(none)";
  const auto begin = at + name.size() + 4;
  return reply.head.substr(begin, reply.head.find("\r\n", begin) - begin);
}

/// A request for that page under that name, as a browser sends it.
Client::Reply asked(unsigned short port, const std::string& path, const std::string& host = "localhost:80",
                    const std::string& method = "GET") {
  Client client(port);
  client.send(cat(method, " ", path, " HTTP/1.1\r\nHost: ", host, "\r\nConnection: close\r\n\r\n"));
  return client.reply();
}

struct WatchedRun {
  testing::TemporaryFolder outer;
  fs::path folder = outer.path() / "out";
  serve::ServedRunPage page{folder, {}, train::PageSignals::ignored};
  unsigned short port =
      static_cast<unsigned short>(std::stoi(page.url().substr(std::string("http://127.0.0.1:").size())));
  fs::path log = folder / "trainer_log.jsonl";
  WatchedRun() { fs::create_directory(folder); }
};

}  // namespace

TEST_CASE("run page: lines of the log come from the byte that was asked for, whole ones alone", "[run_page]") {
  WatchedRun at;
  auto lines = asked(at.port, "/log");  // no run has begun
  CHECK(lines.status == 200);
  CHECK(lines.body.empty());
  add_text(at.log, "{\"current_steps\": 1}\n{\"current_st");
  lines = asked(at.port, "/log?from=0");
  CHECK(lines.body == "{\"current_steps\": 1}\n");
  CHECK(field_of(lines, "Lamina-Next") == "21");
  add_text(at.log, "eps\": 2}\n");
  lines = asked(at.port, "/log?from=21");
  CHECK(lines.body == "{\"current_steps\": 2}\n");
  CHECK(field_of(lines, "Lamina-From") == "21");
  CHECK(asked(at.port, "/log?from=42").body.empty());
  fs::remove(at.log);  // another run
  add_text(at.log, "{\"a\": 1}\n");
  lines = asked(at.port, "/log?from=42");
  CHECK(field_of(lines, "Lamina-From") == "0");
  CHECK(lines.body == "{\"a\": 1}\n");
  for (const char* wrong :
       {"/log?from=", "/log?from=-1", "/log?from=1x", "/log?from=99999999999999999999", "/log?to=1"})
    CHECK(asked(at.port, wrong).status == 400);
  add_text(at.log, std::string(3 << 20, 'x'));  // no line at all: still it ends
  CHECK(asked(at.port, "/log?from=9").body.size() == 1 << 20);
}

TEST_CASE("run page: the state is the folder's own, or its last checkpoint's", "[run_page]") {
  WatchedRun at;
  CHECK(asked(at.port, "/state").body.empty());
  for (const char* checkpoint : {"checkpoint-2", "checkpoint-10"}) {
    fs::create_directory(at.folder / checkpoint);
    add_text(at.folder / checkpoint / "trainer_state.json", checkpoint);
  }
  CHECK(asked(at.port, "/state").body == "checkpoint-10");
  add_text(at.folder / "trainer_state.json", "{}");
  CHECK(asked(at.port, "/state").body == "{}");
  CHECK(asked(at.port, "/run").body.find(R"("folder":"out")") != std::string::npos);
}

TEST_CASE("run page: shows no other file, and itself to no other site", "[run_page]") {
  WatchedRun at;
  add_text(at.outer.path() / "secret", "secret");
  for (const char* path :
       {"/../secret", "/%2e%2e/secret", "/secret", "/trainer_log.jsonl", "/log/../../secret", "//", "/run/"})
    CHECK(asked(at.port, path).status == 404);
  const auto page = asked(at.port, "/");
  CHECK(page.status == 200);
  CHECK(page.body == serve::run_page());
  CHECK(field_of(page, "Content-Security-Policy") == serve::page_policy);
  CHECK(field_of(page, "Access-Control-Allow-Origin") == "(none)");
  CHECK(field_of(page, "Cross-Origin-Resource-Policy") == "same-origin");
  for (const char* word : {"http:", "https:", "src=", "@import", "url("}) {  // but for the name of SVG
    const auto found = page.body.find(word);
    CHECK((found == std::string::npos || page.body.substr(found).starts_with("http://www.w3.org/2000/svg")));
  }
  for (const char* host : {"localhost", "LOCALHOST:1", "127.0.0.1:80", "10.0.0.7", "[::1]:80"})
    CHECK(asked(at.port, "/log", host).status == 200);
  for (const char* host :
       {"evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "", "[evil]", ":80"})
    CHECK(asked(at.port, "/log", host).status >= 400);
  CHECK(asked(at.port, "/", "localhost", "HEAD").head.starts_with("HTTP/1.1 200"));
  for (const char* method : {"POST", "DELETE", "OPTIONS"})
    CHECK(asked(at.port, "/log", "localhost", method).status == 405);
}

TEST_CASE("run page: addresses are a port, or a host with one", "[run_page]") {
  const auto read = [](std::string_view word) {
    const auto address = train::read_page_address(word);
    return cat(address.host, " ", address.port);
  };
  CHECK(read("8001") == "127.0.0.1 8001");
  CHECK(read("0") == "127.0.0.1 0");
  CHECK(read("0.0.0.0:80") == "0.0.0.0 80");
  CHECK(read("[::1]:8001") == "::1 8001");
  for (const char* wrong : {"", "x", "65536", "-1", ":80", "80:", "1.2.3.4", "8001 "})
    CHECK(testing::error_of([&] { train::read_page_address(wrong); }).find("--watch") != std::string::npos);
}
