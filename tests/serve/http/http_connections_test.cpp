#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using namespace std::chrono_literals;
using serve::Json;

TEST_CASE("HTTP: a client address that is full closes its own oldest idle connection, others stay") {
  serve::HttpLimits limits;
  limits.connections = 6;
  limits.connections_per_address = 3;
  RunningServer server({.limits = limits});
  const auto port = server.http.port();
  Client neighbour(port, "127.0.0.2");
  CHECK(neighbour.ask("GET", "/health").status == 200);
  std::vector<std::unique_ptr<Client>> mine;
  for (int i = 0; i < 3; ++i) {
    mine.push_back(std::make_unique<Client>(port));
    CHECK(becomes([&] { return server.http.connections() == i + 2; }));
  }
  Client late(port);
  CHECK(mine[0]->closed());
  for (Client* client : {mine[1].get(), mine[2].get(), &late, &neighbour})
    CHECK(client->ask("GET", "/health").status == 200);
}

TEST_CASE("HTTP: a full server closes the connection that is idle longest for a new one") {
  serve::HttpLimits limits;
  limits.connections = 4;
  limits.connections_per_address = 2;
  RunningServer server({.limits = limits});
  const auto port = server.http.port();
  std::vector<std::unique_ptr<Client>> idle;
  for (const char* from : {"127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3"}) {
    idle.push_back(std::make_unique<Client>(port, from));
    CHECK(becomes([&] { return server.http.connections() == static_cast<int>(idle.size()); }));
  }
  Client late(port, "127.0.0.4");
  CHECK(late.ask("GET", "/health").status == 200);
  CHECK(idle[0]->closed());
  CHECK(idle[1]->ask("GET", "/health").status == 200);
}

TEST_CASE("HTTP: health is answered while every connection is busy and nobody can be closed") {
  serve::HttpLimits limits;
  limits.connections = 2;
  limits.connections_per_address = 2;
  limits.spare_connections = 3;
  RunningServer server({.limits = limits});
  const auto port = server.http.port();
  server.script.hold_prefill = true;
  Client first(port), second(port);
  first.send(Client::request("POST", "/v1/chat/completions", question));
  second.send(Client::request("POST", "/v1/chat/completions", question));
  REQUIRE(becomes([&] { return server.service.load() == 2; }));
  for (int i = 0; i < 10; ++i)
    for (const char* path : {"/health", "/ping", "/version"}) {
      const auto reply = Client(port).ask("GET", path);
      CHECK(reply.status == 200);
      CHECK(reply.head.find("Connection: close") != std::string::npos);
    }
  const auto refused = Client(port).ask("POST", "/v1/chat/completions", question);
  CHECK(refused.status == 503);
  CHECK(refused.head.find("Retry-After: ") != std::string::npos);
  std::vector<std::unique_ptr<Client>> silent;  // take the spare seats, too
  for (int i = 0; i < 10; ++i) silent.push_back(std::make_unique<Client>(port));
  CHECK(Client(port).ask("GET", "/health").status == 200);
  server.script.hold_prefill = false;
  CHECK(first.reply().status == 200);
  CHECK(second.reply().status == 200);
}

TEST_CASE("HTTP: 64 idle connections beyond the limit lock nobody out") {
  serve::HttpLimits limits;
  limits.connections = 16;
  limits.connections_per_address = 8;
  RunningServer server({.limits = limits});
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 80; ++i) idle.push_back(std::make_unique<Client>(server.http.port()));
  CHECK(server.ask(question).status == 200);
  CHECK(server.http.connections() < 80);
}
