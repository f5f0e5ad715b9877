#include <sys/wait.h>

#include <csignal>
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

namespace {
std::string endless(const std::string& more = {}) {
  return chat_request("{" + hello + R"(,"ignore_eos":true,"max_tokens":90000)" + more + "}");
}
}  // namespace

TEST_CASE("HTTP: stop lets a running answer end, and ends an endless one after the grace period") {
  {
    RunningServer server;
    server.script.step = 20ms;
    Client client(server.http.port());
    client.send(chat_request(question));
    while (server.script.prefills == 0) std::this_thread::sleep_for(5ms);
    std::thread stopping([&] { server.http.stop(); });
    const auto reply = client.reply();
    CHECK(reply.status == 200);
    CHECK(reply.head.find("Connection: close") != std::string::npos);
    stopping.join();
  }
  RunningServer server({.max_len = 100000});
  server.script.step = 5ms;
  Client client(server.http.port());
  client.send(chat_request("{" + hello + R"(,"ignore_eos":true,"max_tokens":90000})"));
  while (server.script.decodes == 0) std::this_thread::sleep_for(5ms);
  const auto start = std::chrono::steady_clock::now();
  server.http.stop();
  server.service.stop();
  CHECK(std::chrono::steady_clock::now() - start < 5s);
}

TEST_CASE("HTTP: at stop what waits is answered 503 at once, and the answer that runs is not cut") {
  RunningServer server({.rows = 1, .grace = 60s});
  Client half(server.http.port());  // its body is still on the way
  half.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + std::string(100, ' '));
  while (server.http.body_bytes() == 0) std::this_thread::sleep_for(1ms);
  server.script.hold_prefill = true;
  Client running(server.http.port()), second(server.http.port()), third(server.http.port());
  running.send(chat_request(question));
  while (server.script.held == 0) std::this_thread::sleep_for(1ms);
  second.send(chat_request(question));
  third.send(chat_request("{" + hello + ",\"stream\":true}"));
  while (server.service.load() < 3) std::this_thread::sleep_for(1ms);
  std::thread stopping([&] { server.http.stop(); });
  for (Client* client : {&second, &third, &half}) {
    const auto reply = client->reply();
    CHECK(reply.status == 503);
    CHECK(reply.head.find("Retry-After") != std::string::npos);
    CHECK(reply.body.find("shutting down") != std::string::npos);
    client->close();
  }
  server.script.hold_prefill = false;
  CHECK(running.reply().status == 200);
  running.close();
  stopping.join();
}

TEST_CASE("HTTP: past the grace period a stream ends with an error event, another answer with 503") {
  for (const bool stream : {true, false}) {
    RunningServer server({.max_len = 100000});
    server.script.step = 5ms;
    Client client(server.http.port());
    client.send(endless(stream ? ",\"stream\":true" : ""));
    while (server.script.decodes < 3) std::this_thread::sleep_for(1ms);
    std::thread stopping([&] { server.http.stop(); });
    const auto reply = client.reply();
    CHECK(reply.body.find("shutting down") != std::string::npos);
    CHECK(reply.status == (stream ? 200 : 503));
    if (stream) CHECK(reply.body.ends_with("data: [DONE]\n\n"));
    stopping.join();
  }
}

TEST_CASE("service: preparation is given up when the server ends or the client leaves") {
  struct Waiting : serve::Exchange {
    std::stop_source client;
    std::atomic<int> status{0};
    void reply(serve::HttpReply reply) override { status = reply.status; }
    void begin_stream(serve::HttpReply) override {}
    void write(std::string) override {}
    void end_stream() override {}
    std::stop_token cancelled() const override { return client.get_token(); }
  };
  RunningServer server;
  std::atomic<int> working{0};
  const auto for_ever = [&](const std::stop_token& cancelled) {
    ++working;
    for (;; std::this_thread::sleep_for(1ms)) throw_if_stopped(cancelled);
  };
  const auto leaves = std::make_shared<Waiting>(), stays = std::make_shared<Waiting>();
  server.service.post(leaves, {}, for_ever);
  server.service.post(stays, {}, for_ever);
  while (working < 2) std::this_thread::sleep_for(1ms);
  leaves->client.request_stop();
  while (server.service.load() > 1) std::this_thread::sleep_for(1ms);
  CHECK(leaves->status == 0);
  CHECK(server.service.stop_within(20s));
  CHECK(stays->status == 503);
  const auto late = std::make_shared<Waiting>();
  server.service.post(late, {}, for_ever);
  CHECK(late->status == 503);
}

TEST_CASE("HTTP: the first SIGTERM lets answers end, the second ends the process at once") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {  // no test macros here
    RunningServer server({.max_len = 100000, .grace = 60s, .handle_signals = true});
    server.script.step = 1ms;
    Client client(server.http.port());
    client.send(endless());
    while (server.script.decodes == 0) std::this_thread::sleep_for(1ms);
    ::kill(::getpid(), SIGTERM);
    while (server.service.admits()) std::this_thread::sleep_for(1ms);
    const int before = server.script.decodes;
    while (server.script.decodes < before + 10) std::this_thread::sleep_for(1ms);
    ::kill(::getpid(), SIGTERM);
    std::this_thread::sleep_for(20s);
    std::_Exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 128 + SIGTERM);
}
