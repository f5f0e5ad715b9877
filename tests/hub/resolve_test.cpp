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
