#include <filesystem>
#include <string>

#include "serve/running_server.hpp"
#include "support/catch.hpp"
#include "support/made/random_adapter.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;
using namespace lamina::test;
using serve::Json;

namespace {

Setup adapters_setup() {
  Setup setup;
  setup.adapter_slots = 2;
  setup.routes.load_adapters = true;
  return setup;
}
const std::string module_of_q = "model.language_model.layers.0.self_attn.q_proj";

/// An adapter folder, and the body that loads it.
struct AdapterFolder {
  explicit AdapterFolder(int rank = 4) { testing::write_random_adapter(path(), {{module_of_q, 8, 8}}, rank, 1); }
  std::string path() const { return folder.path().string(); }
  std::string body(const std::string& name, const std::string& more = "") const {
    return R"({"lora_name":")" + name + R"(","lora_path":")" + path() + "\"" + more + "}";
  }
  testing::TemporaryFolder folder;
};
Json error_in(const Client::Reply& reply) { return Json::parse(reply.body)["error"]; }
constexpr const char* load_path = "/v1/load_lora_adapter";
constexpr const char* unload_path = "/v1/unload_lora_adapter";

}  // namespace

TEST_CASE("adapters: one that was loaded is a model of its own on every route") {
  RunningServer server(adapters_setup());
  const AdapterFolder folder;
  const auto loaded = server.ask(folder.body("sql"), load_path);
  CHECK(loaded.status == 200);
  CHECK(loaded.body == "Success: LoRA adapter 'sql' added successfully.");
  const auto own = [&](const std::string& path, const std::string& body) {
    CAPTURE(path);
    const auto reply = server.ask("{\"model\":\"sql\"," + body + "}", path);
    INFO(reply.body);
    CHECK(reply.status == 200);
    return Json::parse(reply.body);
  };
  for (const auto& [path, body] : std::vector<std::pair<std::string, std::string>>{
           {"/v1/chat/completions", hello},
           {"/v1/completions", R"("prompt":"Hello")"},
           {"/v1/messages", hello + R"(,"max_tokens":5)"},
           {"/v1/chat/completions/batch", R"("messages":[[{"role":"user","content":"Hello"}]])"}}) {
    server.script.last_adapter = "none";
    CHECK(own(path, body)["model"] == "sql");
    CHECK(server.script.last_adapter == "sql");
  }
  own("/tokenize", R"("prompt":"Hello")");
  own("/detokenize", R"("tokens":[1,2])");
  own("/v1/messages/count_tokens", hello);
  CHECK(server.chat(with(R"("model":"also")"))["model"] == "tiny");
  CHECK(server.script.last_adapter.empty());
  server.chat(question);
  CHECK(server.script.last_adapter.empty());
  const auto unknown = server.ask(with(R"("model":"sq")"));
  CHECK(unknown.status == 404);
  CHECK(error_in(unknown)["message"] == "The model `sq` does not exist.");
}

TEST_CASE("adapters: /v1/models has a card for each, with its base, its folder and how many layers it changes") {
  RunningServer server(adapters_setup());
  const AdapterFolder folder;
  server.service.adapters().load({"sql", folder.path(), "also"});
  server.service.adapters().load({"a/b/", folder.path(), "nobody"});
  const auto get = [&](const std::string& path) { return Client(server.http.port()).ask("GET", path); };
  const Json cards = Json::parse(get("/v1/models").body)["data"];
  REQUIRE(cards.size() == 4);
  CHECK(cards[0]["id"] == "tiny");
  CHECK(cards[0]["parent"].is_null());
  CHECK(!cards[0].contains("modules"));
  CHECK(cards[2]["id"] == "sql");
  CHECK(cards[2]["root"] == folder.path());
  CHECK(cards[2]["parent"] == "also");
  CHECK(cards[2]["max_model_len"].is_null());
  CHECK(cards[2]["modules"] == 1);
  CHECK(cards[3]["parent"] == "tiny");
  CHECK(Json::parse(get("/v1/models/sql").body)["id"] == "sql");
  CHECK(Json::parse(get("/v1/models/a%2Fb%2F").body)["id"] == "a/b/");
  CHECK(get("/v1/models/other").status == 404);
}

TEST_CASE("adapters: loading and unloading say what vLLM says") {
  RunningServer server(adapters_setup());
  const AdapterFolder folder, other, large(9);
  const auto refused = [&](const std::string& path, const std::string& body, int status, const std::string& type) {
    CAPTURE(path, body);
    const auto reply = server.ask(body, path);
    CHECK(reply.status == status);
    CHECK(error_in(reply)["type"] == type);
    return error_in(reply)["message"].get<std::string>();
  };
  CHECK(refused(load_path, R"({"lora_name":"x"})", 400, "InvalidUserInput") ==
        "Both 'lora_name' and 'lora_path' must be provided.");
  CHECK(refused(load_path, R"({"lora_name":"x","lora_path":"/nowhere/at/all"})", 404, "NotFoundError")
            .starts_with("No adapter found for /nowhere/at/all"));
  CHECK(
      refused(load_path, cat(R"({"lora_name":"x","lora_path":"/)", std::string(5000, 'a'), "\"}"), 404, "NotFoundError")
          .starts_with("No adapter found"));
  for (const std::string& name : {std::string("a\\u0000b"), std::string(257, 'a')})
    CHECK(refused(load_path, folder.body(name), 400, "InvalidUserInput").find("wanted at most 256") !=
          std::string::npos);
  const std::string on_hub = refused(load_path, R"({"lora_name":"x","lora_path":"me/lora"})", 404, "NotFoundError");
  CHECK(on_hub.find("wanted a directory, since a running server fetches nothing") != std::string::npos);
  CHECK(on_hub.find("--lora-modules NAME=me/lora, or run `lamina-download me/lora` first") != std::string::npos);
  CHECK(refused(load_path, large.body("big"), 400, "BadRequestError") ==
        "adapter big: " + module_of_q + ": the rank is 9");
  CHECK(refused(load_path, folder.body("tiny"), 400, "InvalidUserInput").find("own name") != std::string::npos);
  REQUIRE(server.ask(folder.body("a"), load_path).status == 200);
  CHECK(refused(load_path, folder.body("a"), 400, "InvalidUserInput")
            .starts_with("The lora adapter 'a' has already been loaded."));
  CHECK(server.ask(other.body("a", R"(,"load_inplace":true)"), load_path).status == 200);
  REQUIRE(server.service.adapters().list().size() == 1);
  CHECK(server.service.adapters().list()[0].module.path == other.path());
  CHECK(refused(unload_path, "{}", 400, "InvalidUserInput").find("lora_name") != std::string::npos);
  CHECK(refused(unload_path, R"({"lora_name":"b"})", 404, "NotFoundError") == "The lora adapter 'b' cannot be found.");
  const auto unloaded = server.ask(R"({"lora_name":"a"})", unload_path);
  CHECK(unloaded.body == "Success: LoRA adapter 'a' removed successfully.");
  CHECK(server.ask(with(R"("model":"a")")).status == 404);
}

TEST_CASE("adapters: the routes that load them are there if the operator wants them, and need --enable-lora") {
  const AdapterFolder folder;
  Setup closed = adapters_setup(), without = adapters_setup();
  closed.routes.load_adapters = false;
  without.adapter_slots = 0;
  RunningServer none(closed), off(without);
  const auto missing = none.ask(folder.body("a"), load_path);
  CHECK(missing.status == 404);
  CHECK(error_in(missing)["message"].get<std::string>().find("VLLM_ALLOW_RUNTIME_LORA_UPDATING=1") !=
        std::string::npos);
  const auto refused = off.ask(folder.body("a"), load_path);
  CHECK(refused.status == 400);
  CHECK(error_in(refused)["message"] == "adapters are off: start the server with --enable-lora");
}

TEST_CASE("adapters: a request that has begun keeps its adapter when that is unloaded, and metrics name both kinds") {
  Setup setup = adapters_setup();
  setup.adapter_slots = 1;
  RunningServer server(setup);
  const AdapterFolder folder;
  for (const char* name : {"a", "b\"c"}) server.service.adapters().load({name, folder.path()});
  server.script.hold_prefill = true;
  Client first(server.http.port()), second(server.http.port());
  first.send(chat_request(with(R"("model":"a")")));
  while (server.script.held == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  second.send(chat_request(with(R"("model":"b\"c")")));
  while (server.service.load() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  server.service.adapters().unload("a");
  CHECK(server.ask(with(R"("model":"a")")).status == 404);
  server.script.hold_prefill = false;
  const auto answered = [](Client& client) { return Json::parse(client.reply().body)["model"].get<std::string>(); };
  CHECK(answered(first) == "a");
  CHECK(answered(second) == "b\"c");
  CHECK(server.becomes_idle());
  CHECK_FALSE(server.service.statistics().leaked);
  CHECK(server.service.statistics().adapters.empty());
  const auto metrics = Client(server.http.port()).ask("GET", "/metrics").body;
  CHECK(metrics.find("vllm:lora_requests_info{") != std::string::npos);
  CHECK(metrics.find(R"(max_lora="1",running_lora_adapters="",waiting_lora_adapters="")") != std::string::npos);
  engine::Statistics busy;
  busy.adapters = {{"a", {2, 1}}, {"b\"c", {0, 1}}, {"d", {1, 0}}};
  const auto no_prompts = serve::PromptCounts(100).snapshot();
  const auto text = serve::metrics_text(busy, no_prompts, {.model_name = "m", .adapter_slots = 3}, {});
  CHECK(text.find(R"(max_lora="3",running_lora_adapters="a,d",waiting_lora_adapters="a,b\"c")") != std::string::npos);
  CHECK(serve::metrics_text(busy, no_prompts, {.model_name = "m"}, {}).find("lora_requests_info") == std::string::npos);
}
