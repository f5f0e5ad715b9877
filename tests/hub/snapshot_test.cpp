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

const std::set<std::string> needed = {"config.json", "tokenizer.json", "model-00001-of-00002.safetensors",
                                      "model-00002-of-00002.safetensors", "model.safetensors.index.json"};

fs::path fetch(HubTest& test, const hub::SnapshotRequest& request, hub::HubSettings settings) {
  hub::CurlTransport transport;
  fs::path folder;
  notes_of([&] { folder = hub::fetch_snapshot(transport, settings, request, test.retry); });
  return folder;
}
fs::path fetch(HubTest& test) { return fetch(test, test.request(), test.settings()); }

int requests(const HubTest& test, std::string_view part) {
  const auto seen = test.server.seen();
  return static_cast<int>(
      std::count_if(seen.begin(), seen.end(), [&](const Seen& s) { return contains(s.target, part); }));
}

}  // namespace

TEST_CASE("Snapshot: a repository of Hugging Face goes into the cache in its client's layout") {
  HubTest test;
  const fs::path folder = fetch(test), root = test.folder.path() / "cache/models--owner--name";
  CHECK(folder == root / "snapshots" / test.server.commit);
  CHECK(names_in(folder) == needed);
  CHECK(wrong_files(folder, model_files()) == 0);
  CHECK(text_of(root / "refs/main") == test.server.commit);
  const std::string config = model_files().at("config.json").content;
  CHECK(fs::read_symlink(folder / "config.json") == fs::path("../../blobs") / git_id(config));
  CHECK(fs::exists(test.folder.path() / "cache/.locks/models--owner--name" / (git_id(config) + ".lock")));

  SECTION("and is not fetched again") {
    const int before = requests(test, "/resolve/");
    CHECK(fetch(test) == folder);
    CHECK(requests(test, "/resolve/") == before);
  }
  SECTION("of a new commit, files that did not change are not fetched again") {
    test.server.commit = std::string(40, 'b');
    test.server.repositories["models/owner/name"]["config.json"].content = "{}";
    const int before = requests(test, "/resolve/");
    const fs::path newer = fetch(test);
    CHECK(newer == root / "snapshots" / test.server.commit);
    CHECK(requests(test, "/resolve/") == before + 1);
    CHECK(text_of(newer / "config.json") == "{}");
    CHECK(text_of(folder / "config.json") == config);
  }
  SECTION("and is found without a request") {
    auto settings = test.settings();
    settings.offline = true;
    settings.endpoint = "http://127.0.0.1:1";
    CHECK(fetch(test, test.request(), settings) == folder);
    auto request = test.request();
    request.repo.revision = test.server.commit;
    CHECK(fetch(test, request, settings) == folder);
  }
  SECTION("and is used as it is if the hub cannot be reached") {
    auto settings = test.settings();
    settings.endpoint = "http://127.0.0.1:1";
    CHECK(fetch(test, test.request(), settings) == folder);
  }
  SECTION("a blob that was cut off by something else is fetched again") {
    fs::resize_file(root / "blobs" / git_id(config), 3);
    CHECK(wrong_files(fetch(test), model_files()) == 0);
  }
}

TEST_CASE("Snapshot: HF_HUB_OFFLINE and an empty cache are an error that names both") {
  HubTest test;
  auto settings = test.settings();
  settings.offline = true;
  const std::string error = error_of([&] { fetch(test, test.request(), settings); });
  CHECK(contains(error, "owner/name: not in "));
  CHECK(contains(error, "HF_HUB_OFFLINE"));
  CHECK(test.server.seen().empty());
}

TEST_CASE("Snapshot: a folder of the user's holds the files and notes as Hugging Face's client leaves them") {
  HubTest test;
  auto request = test.request();
  request.local_dir = test.folder.path() / "model";
  CHECK(fetch(test, request, test.settings()) == request.local_dir);
  CHECK(names_in(request.local_dir) == needed);
  CHECK(wrong_files(request.local_dir, model_files()) == 0);
  const std::string note = text_of(request.local_dir / ".cache/huggingface/download/config.json.metadata");
  CHECK(note.starts_with(cat(test.server.commit, "\n", git_id(model_files().at("config.json").content), "\n")));
  const int before = requests(test, "/resolve/");
  fetch(test, request, test.settings());
  CHECK(requests(test, "/resolve/") == before);

  // what the user has changed is replaced, what somebody else put there whole is not fetched
  std::ofstream(request.local_dir / "config.json") << "{}";
  fs::remove_all(request.local_dir / ".cache");
  fetch(test, request, test.settings());
  CHECK(requests(test, "/resolve/") == before + 1);
  CHECK(wrong_files(request.local_dir, model_files()) == 0);
}

TEST_CASE("Snapshot: links of a cache whose snapshots are in another place lead to the contents") {
  HubTest test;
  const fs::path elsewhere = test.folder.path() / "far/away/snapshots",
                 root = test.folder.path() / "cache/models--owner--name";
  fs::create_directories(elsewhere);
  fs::create_directories(root);
  fs::create_directory_symlink(elsewhere, root / "snapshots");
  const fs::path folder = fetch(test);
  CHECK(text_of(folder / "config.json") == model_files().at("config.json").content);
  CHECK(wrong_files(elsewhere / folder.filename(), model_files()) == 0);
}

TEST_CASE("Snapshot: a name as long as a file system takes is fetched into a folder of the user's") {
  HubTest test;
  const std::string name = std::string(186, 'n') + ".safetensors", weights = "model-00001-of-00002.safetensors";
  test.server.repositories["models/owner/name"][name] = model_files().at(weights);
  auto request = test.request();
  request.local_dir = test.folder.path() / "mine";
  const fs::path folder = fetch(test, request, test.settings());
  CHECK(text_of(folder / name) == model_files().at(weights).content);
}

TEST_CASE("Snapshot: ModelScope's repositories go where its client puts them") {
  HubTest test;
  test.source = hub::Source::modelscope;
  const fs::path cache = test.folder.path() / "cache";
  SECTION("in its cache") {
    const fs::path folder = fetch(test);
    CHECK(folder == cache / "models/owner--name/snapshots/master");
    CHECK(names_in(folder) == needed);
    CHECK(wrong_files(folder, model_files()) == 0);
    const int before = requests(test, "FilePath");
    test.server.repositories["models/owner/name"]["config.json"].content = "{}";  // the branch moves on
    CHECK(text_of(fetch(test) / "config.json") == "{}");
    CHECK(requests(test, "FilePath") == before + 1);
    auto settings = test.settings();
    settings.offline = true;
    CHECK(fetch(test, test.request(), settings) == folder);
  }
  SECTION("in the folder of an older version, if there is one") {
    test.server.repositories["models/owner/name.5"] = model_files();
    auto request = test.request();
    request.repo.name = "owner/name.5";
    const fs::path older = cache / "hub/models/owner/name___5";
    fs::create_directories(older);
    std::ofstream(older / "config.json") << model_files().at("config.json").content;
    CHECK(fetch(test, request, test.settings()) == older);
    CHECK(names_in(older) == needed);
    CHECK(requests(test, "config.json") == 0);
  }
  SECTION("in a folder of the user's") {
    auto request = test.request();
    request.local_dir = test.folder.path() / "model";
    CHECK(fetch(test, request, test.settings()) == request.local_dir);
    CHECK(names_in(request.local_dir) == needed);
    CHECK(!fs::exists(request.local_dir / ".cache/huggingface"));
    CHECK(text_of(request.local_dir / ".cache/lamina/source") == "ModelScope model owner/name\nmaster\n\n");
  }
}

TEST_CASE("Snapshot: listings of several pages, patterns, tags, commits and data sets") {
  HubTest test;
  test.server.page_size = 3;
  auto request = test.request();
  SECTION("every page counts") {
    CHECK(names_in(fetch(test)) == needed);
    CHECK(requests(test, "cursor=6") == 1);
  }
  SECTION("patterns, as Python's fnmatch") {
    request.selection = {.include = {"*.json", "onnx/"}, .exclude = {"token*"}};
    CHECK(names_in(fetch(test, request, test.settings())) ==
          std::set<std::string>{"config.json", "model.safetensors.index.json", "onnx/model.json"});
  }
  SECTION("patterns that match nothing are an error") {
    request.selection = {.include = {"*.gguf"}, .exclude = {}};
    CHECK(contains(error_of([&] { fetch(test, request, test.settings()); }),
                   "of its 8 files none matches the patterns; it has README.md, config.json, "));
    request.selection = {.include = {}, .exclude = {"*"}};
    const std::string error = error_of([&] { fetch(test, request, test.settings()); });
    CHECK(contains(error, "none is left by the patterns to exclude; it has README.md"));
    CHECK(!contains(error, "safetensors)"));
  }
  SECTION("a tag") {
    request.repo.revision = "v1.0";
    fetch(test, request, test.settings());
    CHECK(text_of(test.folder.path() / "cache/models--owner--name/refs/v1.0") == test.server.commit);
  }
  SECTION("a commit") {
    request.repo.revision = test.server.commit;
    fetch(test, request, test.settings());
    CHECK(requests(test, "/revision/") == 0);
    CHECK(!fs::exists(test.folder.path() / "cache/models--owner--name/refs"));
  }
  SECTION("a data set, with all its files, in folders too") {
    test.server.repositories["datasets/owner/name"] = {{"data/train 1.jsonl", {"{}\n"}}, {"a.csv", {""}}};
    request.repo.type = hub::RepoType::dataset;
    const fs::path folder = fetch(test, request, test.settings());
    CHECK(contains(folder.string(), "datasets--owner--name"));
    CHECK(names_in(folder) == std::set<std::string>{"data/train 1.jsonl", "a.csv"});
    CHECK(fs::read_symlink(folder / "a.csv") == fs::path("../../blobs") / git_id(""));
    CHECK(contains(fs::read_symlink(folder / "data/train 1.jsonl").string(), "../../../blobs/"));
  }
}

TEST_CASE("Snapshot: what the hub refuses is explained") {
  HubTest test;
  auto request = test.request();
  SECTION("no such revision") {
    request.repo.revision = "v2.0";
    CHECK(contains(error_of([&] { fetch(test, request, test.settings()); }), "has no branch, tag or commit v2.0"));
  }
  SECTION("no such repository, or no token") {
    test.server.token = "hf_secret";
    const std::string error = error_of([&] { fetch(test); });
    CHECK(error.starts_with(cat("there is no model owner/name on ", test.server.url(), ", or it is private: ")));
    CHECK(contains(error, "may read it (HF_TOKEN or `hf auth login`) (" + test.server.url()));
    CHECK(contains(error, "status 401: Repository not found)"));
    auto settings = test.settings();
    settings.token = "hf_other", settings.token_name = "--token";
    const std::string closed = error_of([&] { fetch(test, request, settings); });
    CHECK(contains(closed, "the token of --token does not open it"));
    CHECK(!contains(closed, "hf_other"));
    settings.token = "hf_secret";
    CHECK(names_in(fetch(test, request, settings)) == needed);
  }
  SECTION("a repository of the other type") {
    test.source = GENERATE(hub::Source::huggingface, hub::Source::modelscope);
    request = test.request();
    test.server.repositories["datasets/acme/tables"] = {{"a.csv", {""}}};
    request.repo.name = "acme/tables";
    CHECK(contains(error_of([&] { fetch(test, request, test.settings()); }),
                   "but a dataset of this name: lamina-download takes it with --repo-type dataset"));
    request.repo.name = "owner/name", request.repo.type = hub::RepoType::dataset;
    CHECK(contains(error_of([&] { fetch(test, request, test.settings()); }), "--repo-type model"));
  }
}

TEST_CASE("Snapshot: a file that is listed and not given names the repository, the file, the page and the token") {
  HubTest test;
  test.source = GENERATE(hub::Source::huggingface, hub::Source::modelscope);
  const bool hf = test.source == hub::Source::huggingface;
  auto request = test.request();
  request.selection.include = {"config.json"};
  auto settings = test.settings();
  test.server.file_error = hf ? "GatedRepo" : "";
  for (const int status : {401, 403, 404}) {
    CAPTURE(status);
    test.server.file_status = status;
    settings.token = status == 403 ? "hf_other" : "", settings.token_name = "HF_TOKEN";
    settings.token_option = hf ? "hf_hub_token" : "";
    const std::string error = error_of([&] { fetch(test, request, settings); });
    CAPTURE(error);
    CHECK(error.starts_with(cat("owner/name: its file config.json is not open to ",
                                status == 403 ? "the account of this token" : "everybody")));
    CHECK(contains(error, cat("ask for access on ", test.server.url(), hf ? "/owner/name" : "/models/owner/name")));
    CHECK(contains(error, status == 403 ? "the token of HF_TOKEN does not open it"
                          : hf          ? "(hf_hub_token, HF_TOKEN or"
                                        : "(MODELSCOPE_API_TOKEN)"));
    CHECK(contains(error, cat("status ", status)));
    CHECK(!contains(error, "there is no model"));
    CHECK(!contains(error, "hf_other"));
  }
  if (hf) {
    test.server.file_status = 404, test.server.file_error = "EntryNotFound";
    CHECK(contains(error_of([&] { fetch(test, request, settings); }), "config.json is listed and is not there"));
  }
}

TEST_CASE("Snapshot: a file of ModelScope without a hash is fetched again, however long it is") {
  HubTest test;
  test.source = hub::Source::modelscope;
  test.server.has_hashes = false;
  auto request = test.request();
  request.selection.include = {"config.json"};
  const fs::path folder = fetch(test, request, test.settings());
  std::string& content = test.server.repositories["models/owner/name"]["config.json"].content;
  const std::string before = content;
  content[1] = ' ';  // as long as before
  REQUIRE(content != before);
  CHECK(text_of(fetch(test, request, test.settings()) / "config.json") == content);
  auto settings = test.settings();
  settings.offline = true;
  CHECK(fetch(test, request, settings) == folder);
}

TEST_CASE("Snapshot: what ModelScope's older client keeps in a folder stays as it is") {
  HubTest test;
  test.source = hub::Source::modelscope;
  auto request = test.request();
  request.local_dir = test.folder.path() / "model";
  fs::create_directories(request.local_dir);
  for (const char* name : {".msc", ".mdl", ".mv"}) std::ofstream(request.local_dir / name) << "a pickle";
  fetch(test, request, test.settings());
  for (const char* name : {".msc", ".mdl", ".mv"}) CHECK(text_of(request.local_dir / name) == "a pickle");
  auto settings = test.settings();
  settings.offline = true;
  CHECK(fetch(test, request, settings) == request.local_dir);
}

TEST_CASE("Snapshot: a folder where a file is to be is an error that says so") {
  HubTest test;
  auto request = test.request();
  request.local_dir = test.folder.path() / "model";
  fs::create_directories(request.local_dir / "config.json");
  const std::string error = error_of([&] { fetch(test, request, test.settings()); });
  CHECK(contains(error, "config.json: cannot put the file in place: Is a directory: remove or rename the folder"));
}

TEST_CASE("Snapshot: more than fits on the disk is refused before a byte comes") {
  HubTest test;
  class Huge final : public hub::Transport {
   public:
    hub::HttpHead get(const hub::GetRequest&, const hub::HttpReceiver& to) override {
      const std::string listing = cat(R"([{"type":"file","path":"model.safetensors","size":134,"oid":")",
                                      std::string(40, '0'), R"(","lfs":{"oid":")", std::string(64, '0'), R"(","size":)",
                                      std::uint64_t{1} << 44, R"(,"pointerSize":134}}])");
      hub::HttpHead head;
      head.status = 200;
      to.head(head), to.body(std::as_bytes(std::span(listing)));
      return head;
    }
  } transport;
  auto request = test.request();
  request.repo.revision = test.server.commit;
  const std::string error = error_of([&] { hub::fetch_snapshot(transport, test.settings(), request, test.retry); });
  CHECK(contains(error, "owner/name needs 17.6 TB, and "));
  CHECK(contains(error, "free some space"));
  CHECK(!fs::exists(test.folder.path() / "cache"));
}
