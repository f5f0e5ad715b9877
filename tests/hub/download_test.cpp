// lamina-download, as a user sees it.
#include "hub/hub_folder.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// Runs it against the hub of a test. environment: "NAME=VALUE ...", after which others may be unset.
Program download(const HubTest& test, const std::string& words, const std::string& environment = "",
                 const std::string& name = "owner/name") {
  return run_command(cat("( env -u HF_HOME -u HF_HUB_CACHE -u XDG_CACHE_HOME HF_ENDPOINT=", test.server.url(),
                         " MODELSCOPE_ENDPOINT=", test.server.url(), " no_proxy=127.0.0.1 ", environment, " ",
                         LAMINA_BIN_DIR, "/lamina-download ", name, " ", words, " )"));
}

}  // namespace

TEST_CASE("Download: a cache that is a file is one message, with the flag or variable that names it") {
  HubTest test;
  const std::string file = (test.folder.path() / "file").string();
  std::ofstream(file) << "x";
  const auto says = [&](const std::string& name, const std::string& words, const std::string& environment,
                        const std::string& rest) {
    const Program ran = download(test, words, environment);
    INFO(ran.output);
    CHECK(ran.status == 1);
    CHECK(contains(ran.output, cat("lamina-download: ", name, ": ", file, rest, " is a file, wanted a folder\n")));
    CHECK(std::count(ran.output.begin(), ran.output.end(), '\n') == 1);
  };
  says("--cache-dir", "--cache-dir " + file, "", ":");
  says("--cache-dir", cat("--cache-dir ", file, "/a/b"), "", cat("/a/b: ", file));
  says("HF_HUB_CACHE", "", "HF_HUB_CACHE=" + file, ":");
  says("HF_HOME", "", "HF_HOME=" + file, cat("/hub: ", file));
  says("XDG_CACHE_HOME", "", "XDG_CACHE_HOME=" + file, cat("/huggingface/hub: ", file));
  says("HOME", "", "HOME=" + file, cat("/.cache/huggingface/hub: ", file));
  says("MODELSCOPE_CACHE", "--source modelscope", "MODELSCOPE_CACHE=" + file, ":");
  says("--local-dir", "--local-dir " + file, "", ":");
  CHECK(test.server.seen().empty());
  // further down in the cache
  fs::create_directories(test.folder.path() / "cache");
  std::ofstream(test.folder.path() / "cache/models--owner--name") << "x";
  const Program ran = download(test, cat("--cache-dir ", (test.folder.path() / "cache").string()));
  CHECK(ran.status == 1);
  CHECK(contains(ran.output, "cannot make this folder: "));
  CHECK(!contains(ran.output, "filesystem error"));
}

TEST_CASE("Download: results that do not reach stdout are an error") {
  HubTest test;
  const std::string words = cat("--cache-dir ", (test.folder.path() / "cache").string(), " 2>&1 >/dev/full");
  const Program full = download(test, words);
  CHECK(full.status == 1);
  CHECK(contains(full.output, "lamina-download: cannot write to stdout: No space left on device"));
  CHECK(run_command(LAMINA_BIN_DIR "/lamina-download --version >/dev/full").status == 1);
  CHECK(run_command(LAMINA_BIN_DIR "/lamina-download --help >/dev/full").status == 1);
}

TEST_CASE(
    "Download: offline, a folder that is whole is accepted, and one that is not is an error that names the file") {
  HubTest test;
  const fs::path folder = test.folder.path() / "model";
  const std::string words = "--local-dir " + folder.string();
  REQUIRE(download(test, words).status == 0);
  const std::size_t before = test.server.seen().size();
  const Program whole = download(test, words, "HF_HUB_OFFLINE=1");
  CHECK(whole.status == 0);
  CHECK(whole.output == folder.string() + "\n");
  fs::remove(folder / "model-00002-of-00002.safetensors");
  const Program part = download(test, words, "TRANSFORMERS_OFFLINE=1");
  CHECK(part.status == 1);
  CHECK(contains(part.output, "lacks model-00002-of-00002.safetensors, and TRANSFORMERS_OFFLINE forbids to fetch it"));
  CHECK(test.server.seen().size() == before);
  CHECK(download(test, words).status == 0);
  CHECK(fs::exists(folder / "model-00002-of-00002.safetensors"));
}

TEST_CASE("Download: a revision that cannot be one, and a pattern that matches nothing") {
  HubTest test;
  const Program up = download(test, "--revision ../x");
  CHECK(up.status == 2);
  CHECK(contains(up.output, "usage: lamina-download"));
  CHECK(contains(up.output, "--revision ../x: wanted a branch, a tag or a commit"));
  CHECK(!contains(up.output, "report it to the owner"));
  CHECK(test.server.seen().empty());
  const Program some = download(
      test, cat("--include config.json --include '*.gguf' --cache-dir ", (test.folder.path() / "cache").string()));
  CHECK(some.status == 0);
  CHECK(contains(some.output, "note: owner/name: no file matches *.gguf"));
}

TEST_CASE("Download: a slash after the name is no part of it") {
  HubTest test;
  const std::string words = "--include config.json --cache-dir " + (test.folder.path() / "cache").string();
  CHECK(download(test, words, "", "owner/name/").status == 0);
  const Program two = download(test, words, "", "owner/name//");
  CHECK(two.status == 2);
  CHECK(contains(two.output, "owner/name/: wanted a repository's name, OWNER/NAME"));
}

TEST_CASE("Download: without standard streams no line of the log gets into a file") {
  HubTest test;
  const std::string cache = (test.folder.path() / "cache").string();
  CHECK(download(test, cat("--cache-dir ", cache, " --include 'no such' --include '*' <&- >&- 2>&-")).status == 0);
  const fs::path snapshot = fs::path(cache) / "models--owner--name/snapshots" / test.server.commit;
  CHECK(names_in(snapshot).size() == model_files().size());
  CHECK(wrong_files(snapshot, model_files()) == 0);
}

TEST_CASE("Download: habits of huggingface-cli are taken or explained") {
  HubTest test;
  const std::string cache = " --cache-dir " + (test.folder.path() / "cache").string();
  const auto says = [&](const std::string& name, const std::string& words, int status, const std::string& part) {
    const Program ran = download(test, words + cache, "", name);
    INFO(ran.output);
    CHECK(ran.status == status);
    CHECK(contains(ran.output, part));
  };
  says("download owner/name", "config.json tokenizer.json --resume-download", 0,
       "note: --resume-download has no effect: a download always continues\n");
  CHECK(names_in(test.folder.path() / "cache/models--owner--name/snapshots" / test.server.commit) ==
        std::set<std::string>{"config.json", "tokenizer.json"});
  says("https://huggingface.co/owner/name/tree/v1.0", "config.json", 0, "snapshots/" + test.server.commit);
  says("https://www.modelscope.cn/models/owner/name", "config.json", 0, "snapshots/master");
  says("https://modelscope.cn/models/owner/name", "--source hf", 2, "--source huggingface: https://modelscope.cn/");
  says("owner/name", "config.json --source ms", 0, "snapshots/master");
  says("https://hf-mirror.com/owner/name", "", 2, "for another server set HF_ENDPOINT");
  says("owner/name@v1.0", "", 2, "OWNER/NAME; for a revision owner/name --revision v1.0");
  says("owner/name", "--force-download", 2, "files in place have the right hash");
  says("owner/name", "--quiet", 2, "2>/dev/null");
  says("owner/name", "--dry-run", 2, "not built");
  says("--dataset owner/name", "", 2, "write OWNER/NAME --repo-type dataset");
  says("owner/name", "--local-dir ''", 2, "--local-dir '': wanted a path; is a variable of your script not set?");
  says("owner/name", "--local-dir " + (test.folder.path() / "cache/mine").string(), 2,
       "cache/mine: is inside the cache");
  says("owner/name", "config.json --local-dir " + (test.folder.path() / "mine").string(), 0,
       "note: --cache-dir has no effect: files go to --local-dir\n");
  CHECK(download(test, "-h", "", "download").status == 0);
}
