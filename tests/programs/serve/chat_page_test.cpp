#include <cstdlib>
#include <string>

#include <lamina/engine/open.hpp>
#include <lamina/serve/http.hpp>
#include <lamina/serve/routes/routes.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"
#include "support/python.hpp"

/// The page at / in a browser without a window, against a server with a real model.
using namespace lamina;
using namespace lamina::testing;

TEST_CASE("serving: the page answers questions about images in a browser") {
  if (run_command("chromedriver --version && chromium --version && " + quoted(python()) + " -c 'import json'").status !=
      0) {
    WARN("SKIPPED: chromium, chromedriver (Debian: chromium-driver) or " << python() << " is missing");
    return;
  }
  const TemporaryFolder folder;
  const std::string dir = (folder.path() / "nano").string();
  REQUIRE(make_model("qwen3_vl_nano", dir).status == 0);
  engine::EngineOptions options;
  options.max_model_len = 2048;
  options.device = "cpu";
  serve::ChatService service(serve::ModelFiles::load(dir), open_for_engine(dir, options), {.served_names = {"nano"}});
  serve::Routes routes(service, {.api_keys = {"secret"}, .access_log = false});
  serve::HttpServer http({.host = "127.0.0.1", .port = 0, .threads = 2}, routes);
  const Program browser = run_command(
      cat(quoted(python()), " " LAMINA_SOURCE_DIR "/tests/interop/chat_page.py http://127.0.0.1:", http.port(),
          "/ nano --key secret"));
  INFO(browser.output);
  CHECK(browser.status == 0);
  http.stop();
  service.stop();
}
