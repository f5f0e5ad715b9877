#include <cstdlib>
#include <string>

#include <lamina/engine/open.hpp>
#include <lamina/serve/http.hpp>
#include <lamina/serve/routes/routes.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"
#include "support/python.hpp"
#include "support/random_adapter.hpp"

/// The official clients of OpenAI's and Anthropic's APIs against a server with a real model.
using namespace lamina;
using namespace lamina::testing;

namespace {

/// Runs a script of tests/interop against a server.
void ask(const std::string& script, const std::string& url, const std::string& more = "") {
  const Program client =
      run_command(cat(quoted(python()), " " LAMINA_SOURCE_DIR "/tests/interop/", script, " ", url, " secret ", more));
  INFO(client.output);
  CHECK(client.status == 0);
}

}  // namespace

TEST_CASE("serving: the official clients of both APIs get what they ask for") {
  const bool openai = has_modules("openai, pydantic, PIL"), anthropic = has_modules("anthropic");
  if (!openai && !anthropic) return;
  const TemporaryFolder folder;
  const std::string dir = (folder.path() / "nano").string();
  REQUIRE(make_model("qwen3_vl_nano", dir).status == 0);
  engine::EngineOptions options;
  options.max_model_len = 1024;
  options.device = "cpu";
  serve::ChatService service(serve::ModelFiles::load(dir), open_for_engine(dir, options),
                             {.served_names = {"nano"}, .request_defaults = {.automatic_tools = true}});
  serve::Routes routes(service, {.api_keys = {"secret"}, .access_log = false});
  serve::HttpServer http({.host = "127.0.0.1", .port = 0, .threads = 2}, routes);
  const std::string url = cat("http://127.0.0.1:", http.port());
  if (openai) ask("openai_client.py", url + "/v1");
  if (anthropic) ask("anthropic_client.py", url);
  http.stop();
  service.stop();
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
