#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "serve/message_of.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using namespace std::chrono_literals;
using serve::Json;

TEST_CASE("routes: the access log leaves out the paths that it is told to") {
  std::ostringstream log;
  auto* const before = std::clog.rdbuf(log.rdbuf());
  {
    RunningServer server({.routes = {.unlogged_paths = {"/health"}}});
    for (const char* path : {"/health", "/version"}) Client(server.http.port()).ask("GET", path);
  }
  std::clog.rdbuf(before);
  CHECK(log.str().find("/health") == std::string::npos);
  CHECK(log.str().find("GET /version 200") != std::string::npos);
}

TEST_CASE("routes: each path and method answers as documented") {
  RunningServer server;
  Client client(server.http.port());
  CHECK(client.ask("GET", "/health").status == 200);
  CHECK(client.ask("GET", "/ping").status == 200);
  CHECK(client.ask("POST", "/ping").status == 200);
  CHECK(Json::parse(client.ask("GET", "/version").body).contains("version"));
  const auto models = Json::parse(client.ask("GET", "/v1/models").body);
  REQUIRE(models["data"].size() == 2);
  CHECK(models["data"][0]["id"] == "tiny");
  CHECK(models["data"][0]["root"] == "dir/tiny");
  CHECK(models["data"][0]["max_model_len"] == 400);
  CHECK(Json::parse(client.ask("GET", "/v1/models/also").body)["id"] == "also");
  CHECK(client.ask("GET", "/v1/models/none").status == 404);
  CHECK(client.ask("GET", "/none").status == 404);
  CHECK(client.ask("GET", "/none?x=/health").status == 404);
  const auto reply = client.ask("GET", "/v1/chat/completions");
  CHECK(reply.status == 405);
  CHECK(reply.head.find("Allow: POST") != std::string::npos);
  CHECK(Json::parse(reply.body)["error"]["code"] == 405);
}

TEST_CASE("routes: answers beyond the limit are refused, and what they held is given back") {
  Setup setup;
  setup.service.answers = {.one = 20'000, .all = std::make_shared<serve::ByteBudget>(60'000)};
  RunningServer server(setup);
  server.script.say(server.files(), "word", false);
  std::string words, ids;
  for (int i = 0; i < 3000; ++i) words += " a", ids += i ? ",25" : "25";
  CHECK(server.ask(R"({"prompt":")" + words + "\"}", "/tokenize").status == 200);
  CHECK(server.ask(R"({"return_token_strs":true,"prompt":")" + words + "\"}", "/tokenize").status == 400);
  CHECK(server.ask(R"({"tokens":[)" + ids + "]}", "/detokenize").status == 200);
  for (int i = 0; i < 20'000; ++i) ids += ",25";
  CHECK(server.ask(R"({"tokens":[)" + ids + "]}", "/detokenize").status == 400);
  const std::string many = R"({"messages":[{"role":"user","content":"x"}],"logprobs":true,"top_logprobs":20,)";
  REQUIRE(server.becomes_idle());  // nobody else holds memory
  const auto refused = server.ask(many + R"("max_tokens":10,"n":100})");
  CHECK(refused.status == 400);
  CHECK(Json::parse(refused.body)["error"]["type"] == "BadRequestError");
  const auto answer = Json::parse(server.ask(many + R"("max_tokens":2,"n":2})").body);
  REQUIRE(answer["choices"].size() == 2);
  CHECK(answer["choices"][1]["logprobs"]["content"].size() == 2);
  REQUIRE(server.becomes_idle());
  CHECK(setup.service.answers.all->held() == 0);
}

TEST_CASE("routes: tokenize and detokenize are inverse") {
  RunningServer server;
  const auto tokens = Json::parse(server.ask(R"({"prompt":"Hello wörld","return_token_strs":true})", "/tokenize").body);
  CHECK(tokens["count"] == tokens["tokens"].size());
  CHECK(tokens["token_strs"].size() == tokens["tokens"].size());
  const auto text = Json::parse(server.ask(Json{{"tokens", tokens["tokens"]}}.dump(), "/detokenize").body);
  CHECK(text["prompt"] == "Hello wörld");
  const auto chat = Json::parse(server.ask(question, "/tokenize").body);
  CHECK(chat["tokens"] ==
        server.files().tokenizer.encode("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"));
  CHECK(server.ask(R"({"tokens":[999999]})", "/detokenize").status == 400);
  CHECK(server.ask(R"({"tokens":[0],"model":"none"})", "/detokenize").status == 404);
}

TEST_CASE("routes: with a key set only the open paths answer without it") {
  RunningServer server({.routes = {.api_keys = {"secret", "other"}, .access_log = false}});
  Client client(server.http.port());
  for (const char* path : {"/health", "/ping", "/version"}) CHECK(client.ask("GET", path).status == 200);
  for (const char* path : {"/v1/models", "/none", "/v1/models/tiny"}) CHECK(client.ask("GET", path).status == 401);
  CHECK(client.ask("POST", "/tokenize", "{}").status == 401);
  const auto reply = client.ask("POST", "/v1/chat/completions", question);
  CHECK(reply.status == 401);
  CHECK(Json::parse(reply.body)["error"]["type"] == "AuthenticationError");
  for (const char* bad : {"Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret", "secret"})
    CHECK(client.ask("GET", "/v1/models", {}, cat("Authorization: ", bad, "\r\n")).status == 401);
  for (const char* good : {"Bearer secret", "bearer other"})
    CHECK(client.ask("GET", "/v1/models", {}, cat("Authorization: ", good, "\r\n")).status == 200);
  CHECK(client.ask("OPTIONS", "/v1/models", {}, "Origin: http://a\r\nAccess-Control-Request-Method: GET\r\n").status ==
        200);
}

TEST_CASE("routes: the page at / fetches nothing from elsewhere, needs no key, and can be turned off") {
  RunningServer server({.routes = {.api_keys = {"secret"}, .access_log = false}});
  Client client(server.http.port());
  const auto reply = client.ask("GET", "/");
  CHECK(reply.status == 200);
  CHECK(reply.head.find("Content-Type: text/html; charset=utf-8") != std::string::npos);
  CHECK(reply.head.find("Content-Security-Policy: default-src 'none'") != std::string::npos);
  CHECK(reply.body == serve::chat_page());
  for (const char* elsewhere : {"http://", "https://", "src=\"//", "@import"})
    CHECK(reply.body.find(elsewhere) == std::string::npos);
  CHECK(client.ask("POST", "/", "{}").status == 405);

  RunningServer without({.routes = {.access_log = false, .page = false}});
  CHECK(Client(without.http.port()).ask("GET", "/").status == 404);
}

TEST_CASE("routes: CORS, request ids and a proxy's prefix") {
  RunningServer server({.routes = {.root_path = "/x",
                                   .cors = {.allowed_origins = {"http://a"}},
                                   .request_id_headers = true,
                                   .access_log = false}});
  Client client(server.http.port());
  const auto reply = client.ask("GET", "/x/health", {}, "Origin: http://a\r\nX-Request-Id: abc\r\n");
  CHECK(reply.status == 200);
  CHECK(reply.head.find("Access-Control-Allow-Origin: http://a") != std::string::npos);
  CHECK(reply.head.find("X-Request-Id: abc") != std::string::npos);
  CHECK(client.ask("GET", "/health", {}, "Origin: http://b\r\n").head.find("Allow-Origin") == std::string::npos);
  CHECK(client.ask("OPTIONS", "/health", {}, "Origin: http://b\r\nAccess-Control-Request-Method: GET\r\n").status ==
        400);
}

TEST_CASE("routes: a trailing slash is redirected as FastAPI does, before the body is read") {
  const auto location = [](const Client::Reply& reply) {
    const auto at = reply.head.find("Location: ");
    return at == std::string::npos ? "" : reply.head.substr(at + 10, reply.head.find('\r', at) - at - 10);
  };
  RunningServer server({.service = {.served_names = {"tiny", "dir/named/"}}});
  for (const auto& [method, path, target] : std::vector<std::array<std::string, 3>>{
           {"POST", "/v1/chat/completions/", "/v1/chat/completions"},
           {"GET", "/v1/chat/completions/", "/v1/chat/completions"},  // the method is looked at behind the redirect
           {"POST", "/tokenize/?a=b/&c", "/tokenize?a=b/&c"},
           {"POST", "/detokenize//", "/detokenize"},
           {"GET", "/v1/models/", "/v1/models"},
           {"HEAD", "/v1/models/", "/v1/models"},
           {"GET", "/v1/models/tiny/", "/v1/models/tiny"},
           {"GET", "/health/", "/health"},
           {"GET", "/version/", "/version"},
           {"GET", "/ping/", "/ping"}}) {
    CAPTURE(path);
    Client client(server.http.port());
    client.send(cat(method, " ", path, " HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n"));
    const auto head = client.until("\r\n\r\n");
    CHECK(head.starts_with("HTTP/1.1 307 "));
    CHECK(location({307, head, {}}) == target);
    CHECK(head.find("Connection: close") != std::string::npos);
  }
  CHECK(server.http.body_bytes() == 0);
  Client client(server.http.port());
  CHECK(client.ask("GET", "/v1/models/dir/named/").status == 200);  // a name that ends with a slash
  for (const char* path : {"//", "/none/", "//evil.example/", "/v1/"}) {
    CAPTURE(path);
    const auto reply = client.ask("GET", path);
    CHECK(reply.status == 404);
    CHECK(location(reply) == "");
  }

  RunningServer guarded({.routes = {.api_keys = {"k"}, .root_path = "/x", .access_log = false}});
  Client other(guarded.http.port());
  CHECK(other.ask("GET", "/v1/models/").status == 401);
  for (const char* path : {"/x/v1/models/", "/v1/models/"})  // the proxy kept the prefix, or stripped it
    CHECK(location(other.ask("GET", path, {}, "Authorization: Bearer k\r\n")) == "/x/v1/models");
}

TEST_CASE("routes: OPTIONS and HEAD") {
  RunningServer server({.routes = {.request_id_headers = true, .access_log = false}});
  Client client(server.http.port());
  for (const char* target : {"*", "/v1/models"}) {
    client.send(cat("OPTIONS ", target, " HTTP/1.1\r\nHost: x\r\n\r\n"));
    const auto head = client.until("\r\n\r\n");
    CHECK(head.starts_with("HTTP/1.1 204 "));
    CHECK(head.find("Content-Length") == std::string::npos);
    CHECK(head.find("Allow: GET") != std::string::npos);
  }
  for (const char* path : {"/v1/models", "/none", "/v1/chat/completions"}) {
    client.send(cat("HEAD ", path, " HTTP/1.1\r\nHost: x\r\nX-Request-Id: a b\tc\"\r\n\r\n"));
    const auto head = client.until("\r\n\r\n");  // a body here would spoil the next answer
    CHECK(head.starts_with("HTTP/1.1 "));
    CHECK(head.find("X-Request-Id: a?b?c\"\r\n") != std::string::npos);
  }
  CHECK(client.ask("GET", "/health").status == 200);
}

TEST_CASE("HTTP: a connection stays usable after answers, errors and streams") {
  RunningServer server;
  Client client(server.http.port());
  for (int i = 0; i < 3; ++i) {
    CHECK(client.ask("POST", "/v1/chat/completions", question).status == 200);
    CHECK(client.ask("POST", "/v1/chat/completions", "{").status == 400);
    CHECK(client.ask("GET", "/none").status == 404);
    CHECK(client.ask("POST", "/v1/chat/completions", "{" + hello + ",\"stream\":true}")
              .body.ends_with("data: [DONE]\n\n"));
  }
}

TEST_CASE("HTTP: pipelined requests are answered in order") {
  RunningServer server;
  Client client(server.http.port());
  client.send(Client::request("GET", "/version") + chat_request(question) + Client::request("GET", "/none") +
              Client::request("GET", "/health"));
  CHECK(client.reply().body.find("version") != std::string::npos);
  CHECK(client.reply().body.find("The answer") != std::string::npos);
  CHECK(client.reply().status == 404);
  CHECK(client.reply().status == 200);
}

TEST_CASE("HTTP: HEAD has no body, HTTP/1.0 streams end with the connection, Expect is answered") {
  RunningServer server;
  Client client(server.http.port());
  client.send("HEAD /version HTTP/1.1\r\nHost: x\r\n\r\n" + Client::request("GET", "/ping"));
  CHECK(client.until("\r\n\r\n").find("200 OK") != std::string::npos);
  CHECK(client.reply().status == 200);
  const std::string body = "{" + hello + ",\"stream\":true}";
  Client old(server.http.port());
  old.send(cat("POST /v1/chat/completions HTTP/1.0\r\nContent-Length: ", body.size(), "\r\n\r\n", body));
  const auto all = old.until("(to the end)");
  CHECK(all.find("Transfer-Encoding") == std::string::npos);
  CHECK(all.ends_with("data: [DONE]\n\n"));
  Client polite(server.http.port());
  polite.send(cat("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: ",
                  question.size(), "\r\n\r\n"));
  CHECK(polite.until("\r\n\r\n").starts_with("HTTP/1.1 100"));
  polite.send(question);
  CHECK(polite.reply().status == 200);
}

TEST_CASE("HTTP: chunked request bodies are read") {
  RunningServer server;
  Client client(server.http.port());
  std::string chunks;
  for (const char c : question) chunks += cat("1\r\n", c, "\r\n");
  client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks +
              "0\r\n\r\n");
  CHECK(client.reply().status == 200);
}

TEST_CASE("HTTP: header limits hold just below and just above") {
  serve::HttpLimits limits;
  limits.header_bytes = 4096;
  limits.header_count = 20;
  RunningServer server({.limits = limits});
  const auto status = [&](const std::string& headers) {
    return Client(server.http.port()).ask("GET", "/health", {}, headers).status;
  };
  CHECK(status("X: " + std::string(3500, 'a') + "\r\n") == 200);
  CHECK(status("X: " + std::string(4500, 'a') + "\r\n") == 431);
  CHECK(status("X: " + std::string(4'000'000, 'a') + "\r\n") == 431);
  std::string many;
  for (int i = 0; i < 17; ++i) many += "A: b\r\n";  // with Host, Content-Type and Content-Length 20
  CHECK(status(many) == 200);
  CHECK(status(many + "A: b\r\n") == 431);
}

TEST_CASE("HTTP: body limits hold just below and just above, a 100 MB body is refused") {
  serve::HttpLimits limits;
  limits.body_bytes = 1000;
  {
    RunningServer server({.limits = limits});
    const auto body = [&](std::size_t n) { return question + std::string(n - question.size(), ' '); };
    CHECK(server.ask(body(1000)).status == 200);
    const auto reply = server.ask(body(1001));
    CHECK(reply.status == 413);
    CHECK(Json::parse(reply.body)["error"]["type"] == "PayloadTooLarge");
    Client client(server.http.port());
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" +
                body(1001) + "\r\n0\r\n\r\n");
    CHECK(client.reply().status == 413);
  }
  RunningServer server;
  CHECK(server.ask(std::string(100'000'000, 'x')).status == 413);
  CHECK(server.ask("\"" + std::string(10'000'000, 'x')).status == 400);
  CHECK(server.ask(question).status == 200);
}

TEST_CASE("HTTP: slow clients are cut off, at the header, in the body and between requests") {
  serve::HttpLimits limits;
  limits.header_read = 200ms;
  limits.body_period = 200ms;
  limits.idle = 200ms;
  RunningServer server({.limits = limits});
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& bytes :
       {std::string("GET /health HT"),
        std::string("POST /tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"), std::string()}) {
    Client client(server.http.port());
    client.send(bytes);
    CHECK(client.closed());
  }
  Client drip(server.http.port());  // a byte now and then does not help
  bool alive = drip.send("GET /health HTTP/1.1\r\n");
  for (int i = 0; alive && i < 100; ++i) {
    alive = drip.send("X");
    std::this_thread::sleep_for(50ms);
  }
  CHECK_FALSE(alive);
  CHECK(std::chrono::steady_clock::now() - start < 10s);
}

TEST_CASE("HTTP: a truncated body closes without an answer and leaves nothing behind") {
  RunningServer server;
  {
    Client client(server.http.port());
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{");
  }
  CHECK(server.becomes_idle());
  CHECK(server.script.prefills == 0);
}

TEST_CASE("HTTP: a client that goes away stops its request, streamed or not") {
  for (const char* stream : {"true", "false"}) {
    RunningServer server({.max_len = 100000});
    server.script.step = 5ms;
    {
      Client client(server.http.port());
      client.send(chat_request(cat("{", hello, R"(,"ignore_eos":true,"max_tokens":90000,"stream":)", stream, "}")));
      while (server.script.decodes < 3) std::this_thread::sleep_for(5ms);
    }
    CHECK(server.becomes_idle());
    CHECK(server.script.decodes < 2000);
    server.script.step = 0ms;
    CHECK(server.ask(question).status == 200);
  }
}

TEST_CASE("HTTP: a full queue answers 503 with Retry-After while health still answers") {
  RunningServer server({.service = {.served_names = {"tiny"}, .max_requests = 2}, .max_len = 100000});
  server.script.step = 5ms;
  const auto endless = chat_request("{" + hello + R"(,"ignore_eos":true,"max_tokens":90000})");
  Client first(server.http.port()), second(server.http.port());
  first.send(endless);
  second.send(endless);
  while (server.service.load() < 2) std::this_thread::sleep_for(5ms);
  const auto reply = server.ask(question);
  CHECK(reply.status == 503);
  CHECK(reply.head.find("Retry-After") != std::string::npos);
  CHECK(Client(server.http.port()).ask("GET", "/health").status == 200);
  first.close();
  second.close();
  CHECK(server.becomes_idle());
}

TEST_CASE("media: file:// reads strictly below the allowed directory, through no link out of it") {
  const auto root = std::filesystem::temp_directory_path() / cat("lamina_media_", ::getpid());
  std::filesystem::create_directories(root / "in");
  std::filesystem::create_directories(root / "in_evil");
  const auto bmp = serve::decode_base64(
      "Qk1GAAAAAAAAADYAAAAoAAAAAgAAAAIAAAABABgAAAAAABAAAAATCwAAEwsAAAAAAAAAAAAAAAD/AP8AAAD/AAD///8AAA==");
  REQUIRE(bmp);
  for (const char* name : {"in/a b.bmp", "in_evil/a.bmp"})
    std::ofstream(root / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bmp->data()), static_cast<std::streamsize>(bmp->size()));
  std::filesystem::create_symlink(root / "in_evil" / "a.bmp", root / "in" / "link.bmp");
  serve::MediaLimits limits{.allowed_folder = root / "in"};
  const auto load = [&](const std::string& path) {
    return std::move(serve::MediaReader(limits).read({{"file://" + path, "p"}}, {}).front());
  };
  CHECK(load(root / "in/a%20b.bmp").header.size == vision::ImageSize{2, 2});
  CHECK(load(root / "in/a%20b.bmp").file.bytes == *bmp);
  for (const auto& bad :
       {root / "in", root / "in/none.bmp", root / "in/link.bmp", root / "in/../in_evil/a.bmp", root / "in_evil/a.bmp"})
    CHECK_THROWS_AS(load(bad), serve::ApiError);
  CHECK_THROWS_AS(load("relative.bmp"), serve::ApiError);
  REQUIRE(::mkfifo((root / "in/pipe").c_str(), 0600) == 0);
  CHECK_THROWS_AS(load(root / "in/pipe"), serve::ApiError);  // and nothing waits for a writer
  limits.max_file_bytes = bmp->size() - 1;
  CHECK_THROWS_AS(load(root / "in/a%20b.bmp"), serve::ApiError);
  std::filesystem::remove_all(root);
}

TEST_CASE("HttpServer: an address in use is an error that says so") {
  RunningServer server;
  const auto message =
      message_of([&] { serve::HttpServer({.host = "127.0.0.1", .port = server.http.port()}, server.routes); });
  CHECK(message.find(cat("port ", server.http.port())) != std::string::npos);
  CHECK(message.find("choose another port") != std::string::npos);
}
