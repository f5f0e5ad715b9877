#include <unistd.h>

#include <cstdlib>
#include <string>

#include <lamina/engine/open.hpp>
#include <lamina/serve/http.hpp>
#include <lamina/serve/routes/routes.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"
#include "support/made/random_adapter.hpp"
#include "support/python.hpp"

/// Clients of OpenAI's and Anthropic's APIs against a server with a real model.
using namespace lamina;
using namespace lamina::testing;

namespace {

/// Runs a script of tests/interop/clients against a server.
void ask(const std::string& script, const std::string& url, const std::string& more = "") {
  const Program client = run_command(
      cat(quoted(python()), " " LAMINA_SOURCE_DIR "/tests/interop/clients/", script, " ", url, " secret ", more));
  INFO(client.output);
  CHECK(client.status == 0);
}

/// A server with the nano model, of random weights: it says anything. With slots it may load adapters.
struct NanoServer {
  explicit NanoServer(int adapter_slots = 0) : slots(adapter_slots) {}

  int slots;
  TemporaryFolder folder;
  std::string dir = (folder.path() / "nano").string();
  serve::ChatService service{files(dir),
                             open_for_engine(dir, options(slots)),
                             {.served_names = {"nano"}, .request_defaults = {.automatic_tools = true}}};
  serve::Routes routes{service, {.api_keys = {"secret"}, .access_log = false, .load_adapters = slots > 0}};
  serve::HttpServer http{{.host = "127.0.0.1", .port = 0, .threads = 2}, routes};
  std::string url = cat("http://127.0.0.1:", http.port());

  ~NanoServer() {
    http.stop();
    service.stop();
  }

 private:
  static serve::ModelFiles files(const std::string& dir) {
    REQUIRE(make_model("qwen3_vl_nano", dir).status == 0);
    return serve::ModelFiles::load(dir);
  }
  static engine::EngineOptions options(int adapter_slots) {
    engine::EngineOptions out;
    out.max_model_len = 1024;
    out.device = "cpu";
    out.adapter_slots = adapter_slots;
    return out;
  }
};

}  // namespace

TEST_CASE("serving: the official clients of both APIs get what they ask for") {
  const bool openai = has_modules("openai, pydantic, PIL"), anthropic = has_modules("anthropic");
  if (!openai && !anthropic) return;
  const NanoServer server;
  if (openai) ask("openai_client.py", server.url + "/v1");
  if (anthropic) ask("anthropic_client.py", server.url);
}

TEST_CASE("serving: LangChain binds tools and gets structured output, of chats and of responses") {
  if (!has_modules("langchain_openai")) return;
  const NanoServer server;
  ask("langchain_client.py", server.url + "/v1");
}

TEST_CASE("serving: lm-eval scores and generates by local-completions") {
  if (!has_modules("lm_eval, transformers")) return;
  const NanoServer server;
  ask("lm_eval_client.py", server.url + "/v1", quoted(server.dir));
}

TEST_CASE("serving: adapters by name, on decoder, projector and tower, say what PEFT says") {
  if (!has_modules("torch, transformers, peft, PIL")) return;
  const NanoServer server(3);
  ask("peft_answers.py", server.url + "/v1", quoted(server.dir));
}

TEST_CASE("serving: answers of 500 random JSON schemas validate, in bounds of time and memory") {
  if (!has_modules("jsonschema")) return;
  const NanoServer server;
  ask("random_schemas.py", server.url + "/v1", cat("500 ", ::getpid()));
}

TEST_CASE("serving: the openai client asks base and adapters by name, and loads and unloads them") {
  if (!has_modules("openai")) return;
  const TemporaryFolder folder;
  const std::string dir = (folder.path() / "nano").string();
  REQUIRE(make_model("qwen3_vl_nano", dir).status == 0);
  engine::EngineOptions options;
  options.max_model_len = 256;
  options.device = "cpu";
  options.adapter_slots = 2;
  serve::ChatService service(serve::ModelFiles::load(dir), open_for_engine(dir, options), {.served_names = {"base"}});
  const auto layers = layers_with(tensors_of(dir), "language_model");
  for (const std::string name : {"first", "second"}) {
    write_random_adapter(folder.path() / name, layers, name == "first" ? 4 : 16, name == "first" ? 1 : 2);
    service.adapters().load({name, folder.path() / name});
  }
  serve::Routes routes(service, {.api_keys = {"secret"}, .access_log = false, .load_adapters = true});
  serve::HttpServer http({.host = "127.0.0.1", .port = 0, .threads = 2}, routes);
  ask("adapters_client.py", cat("http://127.0.0.1:", http.port(), "/v1"), quoted((folder.path() / "first").string()));
  http.stop();
  service.stop();
}
