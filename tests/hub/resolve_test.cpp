#include <lamina/hub/resolve.hpp>

#include <cstdlib>

#include "hub/hub_folder.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

TEST_CASE("Resolve: folders, files and what no repository can be called come back as they are") {
  const HubTest test;
  ::setenv("HF_ENDPOINT", test.server.url().c_str(), 1);
  const fs::path before = fs::current_path();
  fs::current_path(test.folder.path());
  fs::create_directories("owner/name");
  const auto notes = [] {
    return notes_of([] { CHECK(hub::resolve_model("owner/name", {}) == "owner/name"); });  // also one of a repository
  };
  CHECK(contains(notes(), "note: owner/name: the folder of this name in the working directory is meant"));
  std::ofstream("owner/name/config.json") << "{}";
  CHECK(notes() == "");
  fs::current_path(before);
  for (const char* name : {"", "/nowhere", "./owner/name", "../owner/name", "name", "owner/name/checkpoint-500"})
    CHECK(hub::resolve_model(name, {}) == name);
  CHECK(test.server.seen().empty());
  ::unsetenv("HF_ENDPOINT");
}

TEST_CASE("Resolve: options of a hub have no effect on folders, and are said to have none") {
  hub::Options options{.revision = "v2", .revision_name = "--revision", .cache_dir = "/c", .hf_token = "secret"};
  const std::vector<fs::path> here{"/nowhere"}, there{"owner/name"};
  CHECK(hub::unused_options({}, here).empty());
  CHECK(hub::unused_options(options, there).empty());
  CHECK(hub::unused_options(options, here) ==
        std::vector<std::string>{"--revision v2 has no effect: /nowhere is no repository of a hub",
                                 "cache_dir has no effect: no hub is asked for anything",
                                 "hf_hub_token has no effect: no hub is asked for anything"});
  CHECK(hub::unused_options(options, here, there).size() == 1);  // an adapter has the cache and the token
}

TEST_CASE("Resolve: a folder whose download was interrupted is an error with the command that continues it") {
  HubTest test;
  auto request = test.request();
  request.local_dir = test.folder.path() / "model";
  hub::CurlTransport transport;
  const auto fetch = [&] { hub::fetch_snapshot(transport, test.settings(), request, test.retry); };
  test.server.file_status = 403;
  notes_of([&] { error_of(fetch); });
  CHECK(contains(error_of([&] { hub::resolve_model(request.local_dir, {}); }),
                 cat(request.local_dir.string(),
                     ": its download was interrupted, and it lacks every file: "
                     "`lamina-download owner/name --local-dir ",
                     request.local_dir.string(), "` continues it")));
  test.server.file_status = 0;
  notes_of(fetch);
  CHECK(notes_of([&] { CHECK(hub::resolve_model(request.local_dir, {}) == request.local_dir); }) == "");

  // Hugging Face's client leaves no note of ours
  fs::remove(request.local_dir / "model-00002-of-00002.safetensors");
  std::ofstream(request.local_dir / ".cache/huggingface/download/model-00002-of-00002.safetensors.abc.incomplete")
      << "x";
  CHECK(contains(error_of([&] { hub::resolve_model(request.local_dir, {}); }),
                 "it lacks model-00002-of-00002.safetensors: run that download again"));
  CHECK(hub::download_command({"ModelScope dataset a/b", "v1", ""}, "d") ==
        "lamina-download a/b --local-dir d --revision v1 --repo-type dataset --source modelscope");
}

TEST_CASE("Resolve: a repository's name becomes the folder of its snapshot") {
  HubTest test;
  ::setenv("HF_ENDPOINT", test.server.url().c_str(), 1);
  const fs::path cache = test.folder.path() / "cache";
  fs::path folder;
  notes_of([&] { folder = hub::resolve_model("owner/name", {.cache_dir = cache}); });
  CHECK(folder == cache / "models--owner--name/snapshots" / test.server.commit);
  CHECK(fs::exists(folder / "model-00001-of-00002.safetensors"));
  const std::string error = error_of([&] { hub::resolve_model("owner/nam", {.cache_dir = cache}); });
  CHECK(contains(error, cat("owner/nam: is no folder here, and not to be had from ", test.server.url())));
  CHECK(contains(error, "there is no model owner/nam"));
  ::unsetenv("HF_ENDPOINT");
}
