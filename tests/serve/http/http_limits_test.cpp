#include <memory>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "serve/running_server.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;
using namespace lamina::test;
using namespace std::chrono_literals;
using serve::Json;

namespace {
constexpr std::size_t mb = 1'000'000;

std::string chat_head(std::size_t length, const std::string& headers = {}) {
  return cat("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ",
             length, "\r\n", headers, "\r\n");
}
}  // namespace

TEST_CASE("HTTP: key, path, method, type and length are judged before any byte of the body is kept") {
  RunningServer server({.routes = {.api_keys = {"secret"}, .access_log = false}});
  const std::string key = "Authorization: Bearer secret\r\n";
  const auto status = [&](const std::string& method, const std::string& path, const std::string& headers) {
    Client client(server.http.port());  // the body never comes, so only the header can have been looked at
    client.send(cat(method, " ", path, " HTTP/1.1\r\nHost: x\r\n", headers, "\r\n"));
    const auto reply = client.reply();
    CHECK(reply.head.find("Connection: close") != std::string::npos);
    CHECK(Json::parse(reply.body)["error"]["code"] == reply.status);
    return reply.status;
  };
  const std::string length = "Content-Length: 60000000\r\n", chunked = "Transfer-Encoding: chunked\r\n";
  for (const auto& body : {length, chunked}) {
    CHECK(status("POST", "/v1/chat/completions", body) == 401);
    CHECK(status("POST", "/v1/chat/completions", body + "Authorization: Bearer wrong\r\n") == 401);
    CHECK(status("POST", "/none", body) == 401);
    CHECK(status("POST", "/none", body + key) == 404);
    CHECK(status("GET", "/v1/chat/completions", body + key) == 405);
    CHECK(status("PUT", "/tokenize", body + key) == 405);
    CHECK(status("POST", "/v1/chat/completions", body + key + "Content-Type: text/plain\r\n") == 400);
    CHECK(status("POST", "/v1/chat/completions", body + key + "Content-Encoding: gzip\r\n") == 400);
    CHECK(status("POST", "/v1/chat/completions", body + "Expect: 100-continue\r\n") == 401);
    CHECK(status("POST", "/v1/chat/completions", body + key + "Expect: magic\r\n") == 417);
  }
  CHECK(status("POST", "/v1/chat/completions", "Content-Length: 99999999999\r\n") == 401);
  CHECK(status("POST", "/v1/chat/completions", "Content-Length: 99999999999\r\n" + key) == 413);
  CHECK(server.http.body_bytes() == 0);
}

TEST_CASE("HTTP: a small body that nobody wants is skipped, and the connection stays") {
  RunningServer server({.routes = {.api_keys = {"secret"}, .access_log = false}});
  Client client(server.http.port());
  for (int i = 0; i < 3; ++i) {
    const std::string body = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(60'000, 'x');
    client.send(chat_head(body.size()) + body.substr(0, 50));
    CHECK(client.reply().status == 401);
    client.send(body.substr(50) + Client::request("GET", "/version"));
    CHECK(client.reply().body.find("version") != std::string::npos);
  }
  client.send(chat_head(70'000));
  CHECK(client.reply().status == 401);
  CHECK(client.closed());
}

TEST_CASE("HTTP: many large bodies without a key hold nothing") {
  RunningServer server({.routes = {.api_keys = {"secret"}, .access_log = false}});
  std::vector<std::unique_ptr<Client>> clients;
  const std::string part(4 * mb, ' ');
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<Client>(server.http.port()));
    clients.back()->send(chat_head(60 * mb));
    clients.back()->send(part);
    CHECK(server.http.body_bytes() == 0);
    CHECK(clients.back()->reply().status == 401);
  }
}

TEST_CASE("HTTP: the bodies of all connections share a budget, given back when parsed, refused or cut off") {
  serve::HttpLimits limits;
  limits.body_bytes = mb;
  limits.all_bodies_bytes = 3 * mb;
  RunningServer server({.limits = limits});
  const std::string most(9 * mb / 10, ' ');
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 12; ++i) {
    clients.push_back(std::make_unique<Client>(server.http.port()));
    clients.back()->send(chat_head(mb) + most);
  }
  const auto is_whole = [&] { return server.http.body_bytes() <= 3 * mb; };
  CHECK(is_whole());
  int refused = 0, served = 0;
  const std::string rest = question + std::string(mb - most.size() - question.size(), ' ');
  for (auto& client : clients) {
    client->send(rest);
    const auto reply = client->reply();
    CHECK(is_whole());
    CHECK((reply.status == 200 || reply.status == 503));
    reply.status == 200 ? ++served : ++refused;
    if (reply.status == 503) CHECK(reply.head.find("Retry-After: ") != std::string::npos);
  }
  CHECK(served >= 1);
  CHECK(refused >= 1);
  CHECK(becomes([&] { return server.http.body_bytes() == 0; }));

  SECTION("a client that leaves in the middle") {
    {
      Client client(server.http.port());
      client.send(chat_head(mb) + most);
      CHECK(becomes([&] { return server.http.body_bytes() >= most.size(); }));
    }
    CHECK(becomes([&] { return server.http.body_bytes() == 0; }));
  }
  SECTION("a request that runs holds no body") {
    server.script.hold_prefill = true;
    Client client(server.http.port());
    client.send(chat_head(mb) + question + std::string(mb - question.size(), ' '));
    CHECK(becomes([&] { return server.script.held == 1; }));
    CHECK(server.http.body_bytes() == 0);
    server.script.hold_prefill = false;
    CHECK(client.reply().status == 200);
  }
  SECTION("a length alone takes nothing") {
    Client client(server.http.port());
    client.send(chat_head(mb) + std::string(100, ' '));
    CHECK(becomes([&] { return server.http.body_bytes() > 0; }));
    CHECK(server.http.body_bytes() < 10'000);
  }
}

TEST_CASE("HTTP: slow clients that fill the budget for bodies are closed for others, and cannot keep them out") {
  serve::HttpLimits limits;
  limits.body_bytes = mb;
  limits.all_bodies_bytes = 3 * mb;
  limits.header_read = 50ms;  // a client that sends for longer is slow
  RunningServer server({.limits = limits});
  std::vector<std::unique_ptr<Client>> slow;
  for (int i = 0; i < 6; ++i) {
    slow.push_back(std::make_unique<Client>(server.http.port()));
    slow.back()->send(chat_head(mb) + std::string(9 * mb / 10, ' '));
  }
  std::this_thread::sleep_for(100ms);
  const std::string body = question + std::string(mb - question.size(), ' ');
  int tries = 0;
  while (server.ask(body).status != 200 && tries < 20) ++tries;
  CHECK(tries < 20);
}

TEST_CASE("HTTP: answers that nobody reads share a budget; beyond it the client that lags most is closed") {
  Setup setup;
  setup.limits.all_unsent_bytes = 40 << 20;
  RunningServer server(setup);
  const auto id = *server.files().tokenizer.id_of("<|object_ref_start|>");
  std::string ids;
  for (int i = 0; i < 1'500'000; ++i) ids += (i ? "," : "") + std::to_string(id);  // 30 MB of text
  const std::string request = Client::request("POST", "/detokenize", R"({"tokens":[)" + ids + "]}");
  Client lags(server.http.port());
  lags.send(request);
  const std::string head = lags.until("\r\n\r\n");  // the answer has begun to arrive
  CHECK(head.starts_with("HTTP/1.1 200"));
  Client reads(server.http.port());
  reads.send(request);
  const auto reply = reads.reply();
  CHECK(reply.status == 200);
  CHECK(reply.body.size() > 30'000'000);
  CHECK(lags.rest().size() < reply.body.size());
}

TEST_CASE("HTTP: a stream that its client does not read is cancelled, whichever API it is of; others go on") {
  const testing::TemporaryFolder folder;
  Setup setup;
  setup.max_len = 100000;
  setup.limits.unsent_bytes = 64 << 10;
  setup.uds = folder.path() / "s";  // its buffers are small, those of TCP grow to megabytes
  RunningServer server(setup);
  server.script.say(server.files(), "word", false);  // without end
  const std::string endless = R"("stream":true,"max_)";
  for (const auto& [path, body] : std::vector<std::pair<std::string, std::string>>{
           {"/v1/chat/completions", cat("{", hello, ",", endless, R"(tokens":90000})")},
           {"/v1/completions", cat(R"({"prompt":"Hello",)", endless, R"(tokens":90000})")},
           {"/v1/responses", cat(R"({"input":"Hello",)", endless, R"(output_tokens":90000})")},
           {"/v1/messages", cat("{", hello, ",", endless, R"(tokens":90000})")}}) {
    INFO(path);
    server.script.decodes = 0;
    Client lags(setup.uds), reads(setup.uds);
    lags.send(Client::request("POST", path, body));
    CHECK(lags.until("data:").starts_with("HTTP/1.1 200"));
    CHECK(reads.ask("POST", "/v1/chat/completions", with(R"("max_tokens":5)")).status == 200);
    CHECK(server.becomes_idle());
    CHECK(server.script.decodes < 45000);
  }
}

TEST_CASE("UnsentBudget: closes who has waited longest, and counts who leaves no more") {
  serve::UnsentBudget budget(100);
  std::string closed;
  serve::UnsentBudget::Share a(budget), c(budget);
  std::optional<serve::UnsentBudget::Share> b(std::in_place, budget);
  a.on_eviction([&] { closed += 'a'; });
  b->on_eviction([&] { closed += 'b'; });
  c.on_eviction([&] { closed += 'c'; });
  a.add(50);
  a.remove(50);
  b->add(40);
  c.add(30);
  a.add(30);
  CHECK((closed.empty() && budget.held() == 100));
  c.add(1);
  CHECK((closed == "b" && budget.held() == 61));
  b.reset();
  CHECK(budget.held() == 61);
  a.add(80);
  CHECK(closed == "bca");
}

TEST_CASE("HTTP: a body that came fast at first earns no pause later") {
  serve::HttpLimits limits;
  limits.body_period = 200ms;
  limits.body_bytes_per_s = 1000;
  RunningServer server({.limits = limits});
  Client client(server.http.port());
  client.send(chat_head(mb) + std::string(9 * mb / 10, ' '));  // 900 s at that rate
  CHECK(client.closed());                                      // within the test client's 20 s
  CHECK(becomes([&] { return server.http.body_bytes() == 0; }));
}

TEST_CASE("HTTP: no exception ends a network thread") {
  struct Failing : serve::HttpApplication {
    std::optional<serve::HttpReply> judge(const serve::RequestHead& head) override {
      if (head.path == "/judge/memory") throw std::bad_alloc();
      if (head.path == "/judge/error") throw Error("broken");
      if (head.path == "/judge/other") throw 1;
      if (head.path == "/health") return serve::HttpReply{};
      return {};
    }
    void answer(std::shared_ptr<serve::Exchange>, serve::HttpRequest request) override {
      if (request.path == "/answer/memory") throw std::bad_alloc();
      if (request.path == "/answer/error") throw Error("broken");
      if (request.path == "/answer/other") throw 1;
    }
  } failing;
  serve::HttpServer server({.host = "127.0.0.1", .port = 0, .threads = 1}, failing);
  for (int round = 0; round < 3; ++round)
    for (const char* kind : {"memory", "error", "other"})
      for (const char* where : {"/judge/", "/answer/"}) {
        Client client(server.port());
        client.send(Client::request("POST", cat(where, kind), "{}"));
        const auto answer = client.until("\r\n\r\n");  // an answer, or the end of the connection
        if (!answer.empty()) CHECK(answer.starts_with("HTTP/1.1 50"));
        CHECK(Client(server.port()).ask("GET", "/health").status == 200);
      }
  Client dropped(server.port());
  CHECK(dropped.ask("POST", "/", "{}").status == 500);
  CHECK(dropped.ask("GET", "/health").status == 200);
}

TEST_CASE("HTTP: a client that sends early without end is still seen to leave") {
  serve::HttpLimits limits;
  limits.header_bytes = 4096;
  RunningServer server({.limits = limits, .max_len = 100000});
  server.script.step = 5ms;
  {
    Client client(server.http.port());
    client.send(Client::request("POST", "/v1/chat/completions", with(R"("ignore_eos":true,"max_tokens":90000)")));
    REQUIRE(becomes([&] { return server.script.decodes > 0; }));
    client.send(std::string(mb, 'x'));
  }
  CHECK(server.becomes_idle());
}

TEST_CASE("service: a client that leaves while its prompt is read costs no more than that step") {
  struct Leaving : serve::Exchange {
    std::stop_source client;
    void reply(serve::HttpReply) override {}
    void begin_stream(serve::HttpReply) override {}
    void write(std::string) override {}
    void end_stream() override {}
    std::stop_token cancelled() const override { return client.get_token(); }
  };
  RunningServer server;
  server.script.hold_prefill = true;
  const auto exchange = std::make_shared<Leaving>();
  serve::HttpRequest request;
  request.body.append(question);
  server.service.chat(exchange, std::move(request));
  REQUIRE(becomes([&] { return server.script.held == 1; }));
  exchange->client.request_stop();
  server.script.hold_prefill = false;
  CHECK(server.becomes_idle());
  CHECK(server.script.prefills == 1);
  CHECK(server.script.decodes == 0);
  CHECK(server.ask(question).status == 200);
}

TEST_CASE("service: long bodies hold up no short request on any route") {
  struct Silent : serve::Exchange {
    void reply(serve::HttpReply) override {}
    void begin_stream(serve::HttpReply) override {}
    void write(std::string) override {}
    void end_stream() override {}
    std::stop_token cancelled() const override { return {}; }
  };
  RunningServer server({.max_len = 1 << 20});
  std::atomic<bool> go{false};
  std::atomic<int> held{0};
  serve::HttpRequest large;
  large.body.append(std::string(300'000, ' '));
  for (int i = 0; i < 2; ++i)  // all threads for long bodies
    server.service.post(std::make_shared<Silent>(), large, [&](const std::stop_token& cancelled) {
      for (++held; !go; std::this_thread::sleep_for(1ms)) throw_if_stopped(cancelled);
    });
  REQUIRE(becomes([&] { return held == 2; }));
  const std::string padding(300'000, ' ');
  Client tokenize(server.http.port()), detokenize(server.http.port()), chat(server.http.port());
  tokenize.send(Client::request("POST", "/tokenize", R"({"prompt":"x")" + padding + "}"));
  detokenize.send(Client::request("POST", "/detokenize", R"({"tokens":[64])" + padding + "}"));
  chat.send(Client::request("POST", "/v1/chat/completions", "{" + hello + padding + "}"));
  REQUIRE(becomes([&] { return server.service.load() == 5; }));
  for (int i = 0; i < 3; ++i) {
    CHECK(server.ask(question).status == 200);
    CHECK(server.ask(R"({"prompt":"x"})", "/tokenize").status == 200);
    CHECK(server.ask(R"({"tokens":[64]})", "/detokenize").status == 200);
  }
  CHECK(becomes([&] { return server.service.load() == 5; }));  // an answer is sent before its request is forgotten
  go = true;
  for (Client* client : {&tokenize, &detokenize, &chat}) CHECK(client->reply().status == 200);
  CHECK(server.becomes_idle());
}

TEST_CASE("service: the choices of a request wait one at a time, so that others come between") {
  for (const char* stream : {"true", "false"}) {
    RunningServer server({.rows = 2});
    server.script.step = 2ms;
    Client many(server.http.port());
    many.send(Client::request("POST", "/v1/chat/completions",
                              cat("{", hello, R"(,"n":64,"temperature":1,"stream":)", stream, "}")));
    while (server.script.prefills == 0) std::this_thread::sleep_for(1ms);
    CHECK(server.ask(question).status == 200);
    CHECK(server.script.prefills < 10);  // 65 in the end
    server.script.step = 0ms;
    const auto reply = many.reply();
    CHECK(reply.status == 200);
    CHECK(server.script.prefills == 65);
    if (stream == std::string("false")) CHECK(Json::parse(reply.body)["choices"].size() == 64);
  }
}
