#include <cstdlib>
#include <string>

#include <lamina/engine/open.hpp>
#include <lamina/serve/http.hpp>
#include <lamina/serve/routes.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"

/// The official client of OpenAI's API against a server with a real model.
using namespace lamina;
using namespace lamina::testing;

TEST_CASE("serving: the official openai client gets what it asks for") {
  const char* named = std::getenv("LAMINA_PYTHON");
  const std::string python = named ? named : "python3";
  if (run_command(quoted(python) + " -c 'import openai, pydantic, PIL'").status != 0) {
    WARN("SKIPPED: " << python << " does not have openai and pillow; LAMINA_PYTHON may name one that has");
    return;
  }
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
  const Program client = run_command(
      cat(quoted(python), " " LAMINA_SOURCE_DIR "/tests/interop/openai_client.py http://127.0.0.1:", http.port(),
          "/v1 secret"));
  INFO(client.output);
  CHECK(client.status == 0);
  http.stop();
  service.stop();
}
