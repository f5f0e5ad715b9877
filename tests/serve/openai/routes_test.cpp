#include <string>

#include "serve/events.hpp"
#include "serve/running_server.hpp"
#include "support/catch.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;

namespace {

Setup open_setup() {
  Setup setup;
  setup.service.prompt_details = true;
  setup.routes.tokenizer_info = setup.routes.developer = true;
  setup.routes.settings = "options: port=1, api-key=***";
  return setup;
}
int cached(RunningServer& server) {
  return server.chat(with(R"("max_tokens":1)"))["usage"]["prompt_tokens_details"]["cached_tokens"];
}

}  // namespace

TEST_CASE("routes: what vLLM answers and this server does not is 404 with the reason") {
  RunningServer server;
  for (const char* path :
       {"/v1/embeddings", "/score", "/sleep", "/wake_up", "/v1/audio/transcriptions", "/v1/load_lora_adapter",
        "/invocations", "/v1/embeddings/", "/reset_mm_cache", "/reset_prefix_cache", "/tokenizer_info"}) {
    CAPTURE(path);
    const auto reply = Client(server.http.port()).ask("POST", path, "{}");
    CHECK(reply.status == 404);
    const std::string message = Json::parse(reply.body)["error"]["message"];
    CHECK(message.starts_with(cat(path, ": ")));
    CHECK(message.size() > std::string(path).size() + 20);
  }
  CHECK(Json::parse(Client(server.http.port()).ask("GET", "/nowhere").body)["error"]["message"] == "Not Found");
}

TEST_CASE("routes: tokenizer_info, server_info and reset_prefix_cache are there if the operator wants them") {
  RunningServer plain, server(open_setup());
  for (const char* path : {"/tokenizer_info", "/server_info"})
    CHECK(Client(plain.http.port()).ask("GET", path).status == 404);
  CHECK(plain.ask("", "/reset_prefix_cache").status == 404);
  const Json info = Json::parse(Client(server.http.port()).ask("GET", "/tokenizer_info").body);
  CHECK(info["tokenizer_class"] == "Qwen2Tokenizer");
  CHECK(info.contains("chat_template"));
  CHECK(Json::parse(Client(server.http.port()).ask("GET", "/server_info").body)["vllm_config"] ==
        "options: port=1, api-key=***");
  const int first = cached(server), second = cached(server);
  CHECK(first == 0);
  CHECK(second == 0);  // shorter than a page
  const auto long_chat = [&] {
    const std::string text(200, 'x');
    return server
        .chat(R"({"max_tokens":1,"messages":[{"role":"user","content":")" + text +
              R"("}]})")["usage"]["prompt_tokens_details"]["cached_tokens"]
        .get<int>();
  };
  CHECK(long_chat() == 0);
  CHECK(long_chat() > 0);
  CHECK(server.ask("", "/reset_prefix_cache").status == 200);
  CHECK(long_chat() == 0);
}

TEST_CASE("routes: /openapi.json and /docs describe the routes and fields, unless they are turned off") {
  RunningServer server;
  const Json api = Json::parse(Client(server.http.port()).ask("GET", "/openapi.json").body);
  CHECK(api["openapi"] == "3.1.0");
  for (const char* path : {"/v1/chat/completions", "/v1/completions", "/health", "/v1/models"})
    CHECK(api["paths"].contains(path));
  const Json& chat =
      api["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"];
  CHECK(chat["properties"].contains("tool_choice"));
  const auto page = Client(server.http.port()).ask("GET", "/docs");
  CHECK(page.status == 200);
  CHECK(page.body.find("/v1/completions") != std::string::npos);
  CHECK(page.body.find("http") == page.body.npos);  // nothing from elsewhere
  Setup off;
  off.routes.docs = false;
  RunningServer quiet(off);
  CHECK(Client(quiet.http.port()).ask("GET", "/docs").status == 404);
  CHECK(Client(quiet.http.port()).ask("GET", "/openapi.json").status == 404);
}

TEST_CASE("batch: conversations are answered together, a choice for each") {
  RunningServer server;
  const auto ask = [&](const std::string& body) { return server.ask(body, "/v1/chat/completions/batch"); };
  const std::string two =
      R"("messages":[[{"role":"user","content":"a"}],[{"role":"system","content":"b"},{"role":"user","content":"c"}]])";
  const auto reply = ask("{" + two + R"(,"max_tokens":30})");
  REQUIRE(reply.status == 200);
  const Json json = Json::parse(reply.body);
  CHECK(json["object"] == "chat.completion");
  REQUIRE(json["choices"].size() == 2);
  for (int i = 0; i < 2; ++i) {
    CHECK(json["choices"][i]["index"] == i);
    CHECK(json["choices"][i]["message"]["content"] == "The answer is 42.");
  }
  CHECK(json["usage"]["completion_tokens"] == 2 * server.script.ids.size());
  for (const auto& [body, param] : std::vector<std::pair<std::string, std::string>>{
           {"{}", "messages"},
           {R"({"messages":[]})", "messages"},
           {R"({"messages":[[{"role":"user","content":"a"}],[{"role":"","content":"a"}]]})", "messages.1.0.role"},
           {"{" + two + R"(,"stream":true})", "stream"},
           {"{" + two + R"(,"n":2})", "n"},
           {"{" + two + R"(,"tools":[{}]})", "tools"}}) {
    CAPTURE(body);
    const auto bad = ask(body);
    CHECK(bad.status == 400);
    CHECK(Json::parse(bad.body)["error"]["param"] == param);
  }
}
