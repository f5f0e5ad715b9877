#include <unistd.h>

#include <atomic>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <lamina/engine/open.hpp>
#include <lamina/serve/base64.hpp>
#include <lamina/serve/http.hpp>
#include <lamina/serve/routes/routes.hpp>

#include "programs/program.hpp"
#include "serve/loopback.hpp"
#include "support/catch.hpp"
#include "support/made/image_url.hpp"

/// Many clients of a real model at once.
using namespace lamina;
using namespace lamina::testing;
using lamina::test::Client;
using serve::Json;

namespace {

std::int64_t resident_bytes() {
  std::int64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

/// Question `kind`: texts of some lengths, some with an image, greedy or with a seed.
std::string question(int kind, bool stream) {
  std::string text;
  for (int i = 0; i < 1 + 7 * (kind % 9); ++i) text += "word" + std::to_string(i * kind % 13) + " ";
  Json content = Json::array();
  if (kind % 3 == 0)
    content.push_back({{"type", "image_url"},
                       {"image_url", {{"url", image_url(32 + 32 * (kind % 4), 64, static_cast<unsigned>(kind))}}}});
  content.push_back({{"type", "text"}, {"text", text}});
  Json body = {{"messages", Json::array({{{"role", "user"}, {"content", content}}})},
               {"max_tokens", 1 + kind * 5 % 40},
               {"ignore_eos", true},
               {"stream", stream}};
  if (kind % 2)
    body["temperature"] = 0;
  else
    body["seed"] = kind;
  return body.dump();
}

/// The text of an answer, streamed or not.
std::string text_of(const std::string& body, bool stream) {
  if (!stream) return Json::parse(body)["choices"][0]["message"]["content"];
  std::string text;
  for (std::size_t at = 0, end; (end = body.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const std::string data = body.substr(at + 6, end - at - 6);
    if (data != "[DONE]") text += Json::parse(data)["choices"][0]["delta"].value("content", "");
  }
  return text;
}

struct Server {
  explicit Server(const std::string& dir)
      : service(serve::ModelFiles::load(dir), open_for_engine(dir, options()), {.served_names = {"nano"}}),
        routes(service, {.access_log = false}),
        http({.host = "127.0.0.1", .port = 0, .limits = limits(), .threads = 2}, routes) {}
  ~Server() {
    http.stop();
    service.stop();
  }
  static engine::EngineOptions options() {
    engine::EngineOptions out;
    out.max_model_len = 400;
    out.device = "cpu";
    out.rows = 12;
    out.step_tokens = 96;
    out.page_tokens = 16;
    out.pages = 200;
    return out;
  }
  static serve::HttpLimits limits() {
    serve::HttpLimits out;
    out.connections_per_address = 1000;
    return out;
  }

  serve::ChatService service;
  serve::Routes routes;
  serve::HttpServer http;
};

}  // namespace

TEST_CASE("serving: each of 64 clients gets the answer it would get alone, whoever leaves in the middle") {
  TemporaryFolder folder;
  const std::string dir = (folder.path() / "nano").string();
  REQUIRE(make_model("qwen3_vl_nano", dir).status == 0);
  Server server(dir);
  constexpr int kinds = 30;
  std::map<int, std::string> alone;
  for (int kind = 0; kind < kinds; ++kind) {
    const auto reply = Client(server.http.port()).ask("POST", "/v1/chat/completions", question(kind, false));
    REQUIRE(reply.status == 200);
    alone[kind] = text_of(reply.body, false);
  }
  std::atomic<int> right{0}, wrong{0}, left{0};
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed_s = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  constexpr double duration_s = 15;
  const auto client = [&](unsigned seed) {
    std::mt19937 random(seed);
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    while (elapsed_s() < duration_s) try {
        const int kind = below(kinds);
        const bool stream = below(2);
        Client connection(server.http.port());
        connection.send(Client::request("POST", "/v1/chat/completions", question(kind, stream)));
        if (below(5) == 0) {
          std::this_thread::sleep_for(std::chrono::milliseconds(below(200)));
          ++left;
          continue;
        }
        const auto reply = connection.reply();
        const bool equal = reply.status == 200 && text_of(reply.body, stream) == alone.at(kind);
        ++(equal ? right : wrong);
      } catch (const std::exception&) {
        ++wrong;
      }
  };
  std::vector<std::thread> clients;
  for (unsigned i = 0; i < 64; ++i) clients.emplace_back(client, i);
  while (elapsed_s() < duration_s / 3) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::int64_t before = resident_bytes();
  for (auto& thread : clients) thread.join();
  const std::int64_t growth = resident_bytes() - before;
  for (int i = 0; i < 1000 && server.service.load() > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(server.service.load() == 0);
  CHECK(wrong == 0);
  CHECK(right > 64);
  CHECK(left > 0);
  CHECK(growth < std::int64_t{64} << 20);
  server.service.stop();
  const engine::Statistics s = server.service.statistics();
  CHECK_FALSE(s.leaked);
  CHECK(s.running + s.waiting == 0);
  CHECK(s.pages_used == 0);
  CHECK(s.prefix_hit > 0);
  CHECK(s.outcomes[2] > 0);  // those that left
  WARN(right << " answers, " << left << " left, growth " << (growth >> 10) << " KiB");
}
