// What is on the disk, if the hub may not be asked or is away.
#include <sys/stat.h>

#include <lamina/hub/http/curl.hpp>
#include <lamina/hub/snapshot.hpp>

#include "hub/hub_folder.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// Fetches; offline unless the test says otherwise.
fs::path fetch(HubTest& test, const hub::SnapshotRequest& request, bool offline) {
  hub::CurlTransport transport;
  auto settings = test.settings();
  settings.offline = offline;
  fs::path folder;
  notes_of([&] { folder = hub::fetch_snapshot(transport, settings, request, test.retry); });
  return folder;
}

/// Lets a fetched file go, with its blob if it is a link.
void lose(const fs::path& file) {
  if (fs::is_symlink(file)) fs::remove(file.parent_path() / fs::read_symlink(file));
  fs::remove(file);
}

/// The places that a snapshot may have: both hubs, the cache and a folder.
HubTest& set_up(HubTest& test, hub::SnapshotRequest& request, int place) {
  test.source = place < 2 ? hub::Source::huggingface : hub::Source::modelscope;
  request = test.request();
  if (place % 2) request.local_dir = test.folder.path() / "model";
  return test;
}

}  // namespace

TEST_CASE("Offline: a whole snapshot is found in each place, without a request") {
  HubTest test;
  hub::SnapshotRequest request;
  set_up(test, request, GENERATE(0, 1, 2, 3));
  const fs::path folder = fetch(test, request, false);
  const std::size_t before = test.server.seen().size();
  CHECK(fetch(test, request, true) == folder);
  CHECK(test.server.seen().size() == before);
}

TEST_CASE("Offline: a snapshot that lacks a file is an error that names it, and a download brings the file") {
  HubTest test;
  hub::SnapshotRequest request;
  set_up(test, request, GENERATE(0, 1, 2, 3));
  const fs::path folder = fetch(test, request, false);
  const std::string name =
      GENERATE("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "config.json");
  CAPTURE(folder, name);
  lose(folder / name);
  const std::string error = error_of([&] { fetch(test, request, true); });
  CHECK(contains(error, cat("owner/name: ", folder.string(), " lacks ", name, ", and HF_HUB_OFFLINE forbids")));
  test.server.token = "unknown here";  // a hub that answers, but not to us, brings nothing
  CHECK(error_of([&] { fetch(test, request, false); }) != "");
  test.server.token = "";
  CHECK(fetch(test, request, false) == folder);
  CHECK(wrong_files(folder, model_files()) == 0);
  CHECK(fetch(test, request, true) == folder);
}

TEST_CASE("Offline: what tells that a file is missing") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  fs::create_directories(model / "sub");
  const hub::Repository repo{hub::Source::huggingface, hub::RepoType::model, "a/b", "main"};
  const auto missing = [&](const hub::Selection& selection = {}) {
    return hub::MissingFiles(repo, selection, model).find();
  };
  const auto write = [&](const char* name, const std::string& text = "{}") { std::ofstream(model / name) << text; };
  using Names = std::vector<std::string>;
  CHECK(missing() == Names{"every file"});
  write("config.json");
  CHECK(missing() == Names{"model.safetensors"});
  CHECK(missing({.exclude = {"*.safetensors"}}).empty());  // what lamina-init asks for
  CHECK(missing({.include = {"config.json"}}).empty());
  CHECK(missing({.include = {"*.json", "merges.txt"}}) == Names{"merges.txt"});
  write("model.safetensors.index.json", R"({"weight_map": {"a": "x.safetensors", "b": "y.safetensors"}})");
  write("y.safetensors");
  CHECK(missing() == Names{"x.safetensors"});
  write("model.safetensors.index.json", R"({"weight_map")");
  CHECK(missing() == Names{"model.safetensors.index.json (it cannot be read)"});
  fs::remove(model / "model.safetensors.index.json");
  CHECK(missing().empty());
  fs::create_symlink("../blobs/gone", model / "merges.txt");
  CHECK(missing() == Names{"merges.txt"});
  fs::remove(model / "merges.txt");
  write(".cache/huggingface/download/RpEG6k9JXzT0=.19fe2d47.a1b2c3.incomplete");  // Hugging Face's client, killed once
  CHECK(missing().empty());
  write("vocab.txt.incomplete");
  CHECK(missing() == Names{"vocab.txt"});
  write("vocab.txt");
  CHECK(missing().empty());
  write("sub/adapter_config.json");
  CHECK(missing({.include = {}, .exclude = {}, .folder = "sub"}) == Names{"sub/adapter_model.safetensors"});
}

TEST_CASE("Offline: parts of files that are numbered") {
  using Names = std::set<std::string>;
  CHECK(hub::missing_parts({"m-00001-of-00003.safetensors", "m-00003-of-00003.safetensors"}) ==
        Names{"m-00002-of-00003.safetensors"});
  CHECK(hub::missing_parts({"data/train-00000-of-00002.json"}) == Names{"data/train-00001-of-00002.json"});
  CHECK(hub::missing_parts({"a-of-b.json", "-of-", "x-1-of-2.json", "y-00003-of-00002.json"}).empty());
}

TEST_CASE("Offline: a hub that is away leaves what is whole in use, and no more") {
  HubTest test;
  const fs::path folder = fetch(test, test.request(), false);
  hub::CurlTransport transport;
  auto settings = test.settings();
  settings.endpoint = "http://127.0.0.1:1";
  lose(folder / "config.json");
  const std::string error = error_of([&] { hub::fetch_snapshot(transport, settings, test.request(), test.retry); });
  CHECK(contains(error, "owner/name cannot be fetched, and "));
  CHECK(contains(error, "lacks config.json"));
  auto request = test.request();
  request.local_dir = test.folder.path() / "model";
  fetch(test, request, false);
  CHECK(contains(notes_of([&] { hub::fetch_snapshot(transport, settings, request, test.retry); }), "is used as it is"));
}

TEST_CASE("Offline: a ref that cannot be read is an error, and a download writes it anew") {
  HubTest test;
  const fs::path folder = fetch(test, test.request(), false);
  const fs::path ref = test.folder.path() / "cache/models--owner--name/refs/main";
  std::ofstream(ref) << test.server.commit << "\n";  // as an editor leaves it
  CHECK(fetch(test, test.request(), true) == folder);
  fs::remove(ref);
  REQUIRE(::mkfifo(ref.c_str(), 0600) == 0);  // nobody writes to it
  CHECK(contains(error_of([&] { fetch(test, test.request(), true); }), "owner/name: not in "));
  CHECK(fetch(test, test.request(), false) == folder);
  CHECK(text_of(ref) == test.server.commit);
  fs::remove(ref);
  fs::create_directories(ref);
  CHECK(contains(error_of([&] { fetch(test, test.request(), true); }), "owner/name: not in "));
  CHECK(contains(error_of([&] { fetch(test, test.request(), false); }), "refs/main: cannot put the new file in place"));
  fs::remove(ref);
  for (const std::string& text : {std::string("nonsense"), std::string(1000, 'x'), std::string()}) {
    std::ofstream(ref) << text;
    std::string error;
    const std::string notes = notes_of([&] {
      error = error_of([&] {
        hub::CurlTransport transport;
        auto settings = test.settings();
        settings.offline = true;
        hub::fetch_snapshot(transport, settings, test.request());
      });
    });
    CHECK(contains(error, "owner/name: not in "));
    CHECK(fetch(test, test.request(), false) == folder);
    CHECK(text_of(ref) == test.server.commit);
  }
}

TEST_CASE("Offline: a folder of another repository or revision is refused by name") {
  HubTest test;
  test.source = GENERATE(hub::Source::huggingface, hub::Source::modelscope);
  const bool hf = test.source == hub::Source::huggingface;
  test.server.repositories["models/owner/other"] = model_files(9);
  auto request = test.request();
  request.local_dir = test.folder.path() / "model";
  fetch(test, request, false);
  auto other = request;
  other.repo.name = "owner/other";
  const std::string hub_name(hub::name_of(test.source)), branch = request.repo.revision;
  CHECK(contains(error_of([&] { fetch(test, other, true); }),
                 cat("holds ", hub_name, " model owner/name at revision ", branch, ", not ", hub_name,
                     " model owner/other at revision ", branch, ": name another folder with --local-dir")));
  auto tag = request;
  tag.repo.revision = "v1.0";
  CHECK(contains(error_of([&] { fetch(test, tag, true); }), cat("at revision ", branch, ", not ")));
  if (hf) {
    auto commit = request;
    commit.repo.revision = test.server.commit;
    CHECK(fetch(test, commit, true) == request.local_dir);
    commit.repo.revision = std::string(40, 'b');
    CHECK(error_of([&] { fetch(test, commit, true); }) != "");
    fs::remove_all(request.local_dir / ".cache/lamina");  // as Hugging Face's client leaves it
    CHECK(contains(error_of([&] { fetch(test, commit, true); }), cat("holds files of commit ", test.server.commit)));
  }
  // a hub that is away is no reason either
  auto settings = test.settings();
  settings.endpoint = "http://127.0.0.1:1";
  fetch(test, request, false);
  hub::CurlTransport transport;
  std::string error;
  notes_of([&] { error = error_of([&] { hub::fetch_snapshot(transport, settings, other, test.retry); }); });
  CHECK(contains(error, "not " + hub_name + " model owner/other"));
}

TEST_CASE("Offline: a folder that says nothing about itself is taken with a note, and one is not two repositories") {
  HubTest test;
  test.server.repositories["models/owner/other"] = {{"config.json", {"{}"}}};
  auto request = test.request();
  request.local_dir = test.folder.path() / "model";
  fetch(test, request, false);
  fs::remove_all(request.local_dir / ".cache");
  auto settings = test.settings();
  settings.offline = true;
  hub::CurlTransport transport;
  const auto notes = [&] { return notes_of([&] { hub::fetch_snapshot(transport, settings, request, test.retry); }); };
  CHECK(contains(notes(), "is taken for Hugging Face model owner/name at revision main, which nothing in it says"));

  settings.offline = false;
  CHECK(!contains(notes(), "note: "));
  auto other = request;
  other.repo.name = "owner/other", other.selection.include = {"config.json"};
  const std::string mixed = notes_of([&] { hub::fetch_snapshot(transport, settings, other, test.retry); });
  CHECK(
      contains(mixed, "holds Hugging Face model owner/name at revision main: files of Hugging Face model owner/other"));
  CHECK(hub::read_source(request.local_dir)->repository == "Hugging Face model owner/other");
}

TEST_CASE("Offline: what to do next is said") {
  HubTest test;
  auto settings = test.settings();
  settings.offline = true;
  hub::CurlTransport transport;
  const auto error = [&] {
    std::string text;
    notes_of([&] { text = error_of([&] { hub::fetch_snapshot(transport, settings, test.request(), test.retry); }); });
    return text;
  };
  CHECK(contains(error(), "HF_HUB_OFFLINE forbids to fetch it: run once without it, or fetch it with lamina-download"));
  settings.offline = false;
  settings.endpoint = "http://127.0.0.1:1";
  CHECK(contains(error(),
                 "owner/name cannot be fetched: check the network and https_proxy, name a mirror with "
                 "HF_ENDPOINT, or fetch it with lamina-download --local-dir on a machine that reaches"));
}
