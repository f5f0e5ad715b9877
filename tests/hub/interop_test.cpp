// The hubs' own Python clients open what we fetched, and we open what they fetched.
#include <lamina/hub/http/curl.hpp>
#include <lamina/hub/snapshot.hpp>

#include "hub/hub_folder.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"
#include "support/python.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// The folder that a client names.
std::string client_folder(const std::string& client, const std::string& endpoint, const fs::path& cache,
                          const fs::path& local_dir = {}) {
  const Program ran = run_command(quoted(python()) + " " LAMINA_SOURCE_DIR "/tests/interop/clients/hub_client.py " +
                                  client + " " + endpoint + " " + quoted(cache.string()) +
                                  (local_dir.empty() ? "" : " " + quoted(local_dir.string())));
  INFO(ran.output);
  REQUIRE(ran.status == 0);
  const auto at = ran.output.rfind("folder: ");
  return ran.output.substr(at + 8, ran.output.find('\n', at) - at - 8);
}

/// Fetches; returns how many files were asked for.
int fetch(const HubTest& test, const hub::HubSettings& settings, hub::SnapshotRequest request, fs::path& folder) {
  request.selection.include = {"*.json", "*.safetensors"};
  hub::CurlTransport transport;
  const std::size_t before = test.server.seen().size();
  notes_of([&] { folder = hub::fetch_snapshot(transport, settings, request, test.retry); });
  const auto seen = test.server.seen();
  return static_cast<int>(
      std::count_if(seen.begin() + static_cast<std::ptrdiff_t>(before), seen.end(),
                    [](const Seen& s) { return contains(s.target, "/resolve/") || contains(s.target, "FilePath="); }));
}

}  // namespace

TEST_CASE("Interoperability: huggingface_hub opens our cache offline, and we open its") {
  if (!has_modules("huggingface_hub")) return;
  HubTest test;
  const fs::path cache = test.settings().cache, theirs = test.folder.path() / "theirs",
                 local = test.folder.path() / "l";
  fs::path ours;
  CHECK(fetch(test, test.settings(), test.request(), ours) == 6);
  CHECK(client_folder("huggingface", "offline", cache) == ours.string());

  const std::string folder = client_folder("huggingface", test.server.url(), theirs);
  auto settings = test.settings();
  settings.cache = theirs;
  CHECK(fetch(test, settings, test.request(), ours) == 0);
  CHECK(ours.string() == folder);
  settings.offline = true;
  CHECK(fetch(test, settings, test.request(), ours) == 0);
  CHECK(ours.string() == folder);

  auto request = test.request();
  request.local_dir = client_folder("huggingface", test.server.url(), theirs, local);
  CHECK(fetch(test, test.settings(), request, ours) == 0);
  CHECK(wrong_files(local, model_files()) == 0);
}

TEST_CASE("Interoperability: modelscope opens our cache offline, and we open its") {
  if (!has_modules("modelscope_hub")) return;
  HubTest test;
  test.source = hub::Source::modelscope;
  const fs::path cache = test.settings().cache, theirs = test.folder.path() / "theirs";
  fs::path ours;
  CHECK(fetch(test, test.settings(), test.request(), ours) == 6);
  CHECK(client_folder("modelscope", "offline", cache) == ours.string());
  const std::string folder = client_folder("modelscope", test.server.url(), theirs);
  auto settings = test.settings();
  settings.cache = theirs;
  CHECK(fetch(test, settings, test.request(), ours) == 0);
  CHECK(ours.string() == folder);
}
