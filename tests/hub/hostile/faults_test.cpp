#include <signal.h>
#include <sys/wait.h>

#include <random>

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

/// Draws where a fetch goes: both hubs, their caches and a folder.
struct Target {
  HubTest test;
  HubFiles files;
  hub::SnapshotRequest request;

  explicit Target(std::mt19937& random, std::size_t weights) : files(model_files(random() % 1000, weights)) {
    test.source = random() % 2 ? hub::Source::huggingface : hub::Source::modelscope;
    test.server.repositories["models/owner/name"] = files;
    if (random() % 2) test.server.elsewhere = test.server.url();
    request = test.request();
    if (random() % 2) request.local_dir = test.folder.path() / "model";
    request.workers = 1 + static_cast<int>(random() % 4);
  }
  fs::path folder() const {
    if (!request.local_dir.empty()) return request.local_dir;
    return test.source == hub::Source::modelscope
               ? test.folder.path() / "cache/models/owner--name/snapshots/master"
               : test.folder.path() / "cache/models--owner--name/snapshots" / test.server.commit;
  }
  /// lamina-download's command, for a shell.
  std::string command() const {
    const bool hf = test.source == hub::Source::huggingface;
    return cat(hf ? "HF_ENDPOINT=" : "MODELSCOPE_ENDPOINT=", test.server.url(), " no_proxy=127.0.0.1 exec ",
               LAMINA_BIN_DIR, "/lamina-download owner/name --source ", hf ? "huggingface" : "modelscope",
               " --cache-dir ", quoted((test.folder.path() / "cache").string()),
               request.local_dir.empty() ? "" : cat(" --local-dir ", quoted(request.local_dir.string())),
               " >/dev/null 2>&1");
  }
  bool fetch() {
    hub::CurlTransport transport;
    bool done = false;
    notes_of([&] {
      try {
        hub::fetch_snapshot(transport, test.settings(), request, test.retry);
        done = true;
      } catch (const Error&) {
      }
    });
    return done;
  }
};

/// Runs a command; child is its process as long as it runs.
int wait_status(const std::string& command, std::atomic<pid_t>& child) {
  const pid_t forked = ::fork();
  if (forked == 0) ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr), ::_exit(127);
  child = forked;
  int status = 0;
  REQUIRE(::waitpid(forked, &status, 0) == forked);
  child = 0;
  return status;
}

}  // namespace

TEST_CASE("Faults: after 170 of them on the wire every file is whole or absent, and a retry brings the rest") {
  std::mt19937 random(20);
  int repaired = 0, failed = 0;
  for (int trial = 0; trial < 170; ++trial) {
    Target target(random, 3000 + random() % 60'000);
    // A few answers go wrong in a row, each in its own way; sometimes more than the attempts of one run.
    std::atomic<int> faults = 1 + static_cast<int>(random() % (trial % 10 == 0 ? 40 : 3));
    std::mt19937 kinds(trial);
    std::mutex mutex;
    const auto kind = static_cast<Fault>(trial % 11);
    target.test.server.next_fault = [&]() -> std::optional<Fault> {
      const std::lock_guard lock(mutex);
      if (kinds() % 4 == 0 || faults-- <= 0) return std::nullopt;
      return kinds() % 2 ? kind : static_cast<Fault>(kinds() % 11);
    };
    CAPTURE(trial);
    const bool done = target.fetch();
    done ? ++repaired : ++failed;
    REQUIRE(wrong_files(target.folder(), target.files) == 0);
    if (done) REQUIRE(names_in(target.folder()).size() == 5);
    faults = 0;
    REQUIRE(target.fetch());
    REQUIRE(names_in(target.folder()).size() == 5);
    REQUIRE(wrong_files(target.folder(), target.files) == 0);
  }
  CHECK(repaired > 50);
  CHECK(failed > 5);  // wrong content that comes twice, a changed ETag, no end of errors
}

TEST_CASE("Faults: 20 times kill -9, at any byte") {
  std::mt19937 random(9);
  int continued = 0;
  for (int trial = 0; trial < 20; ++trial) {
    CAPTURE(trial);
    Target target(random, 1'000'000);
    std::atomic<std::int64_t> left = static_cast<std::int64_t>(random() % 1'200'000);
    std::atomic<pid_t> child = 0;
    target.test.server.chunk = 5000;
    target.test.server.on_body = [&](std::size_t bytes) {
      if ((left -= static_cast<std::int64_t>(bytes)) < 0 && child > 0) ::kill(child, SIGKILL);
    };
    const std::string command = target.command();
    const int status = wait_status(command, child);
    CHECK(((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) || WEXITSTATUS(status) == 0));
    REQUIRE(wrong_files(target.folder(), target.files) == 0);
    REQUIRE(target.fetch());
    REQUIRE(names_in(target.folder()).size() == 5);
    REQUIRE(wrong_files(target.folder(), target.files) == 0);
    for (const Seen& seen : target.test.server.seen()) continued += !seen.range.empty();
  }
  CHECK(continued > 0);  // files that the killed process had begun
}

TEST_CASE("Faults: 10 times a full disk, which says so and stops") {
  std::mt19937 random(10);
  for (int trial = 0; trial < 10; ++trial) {
    CAPTURE(trial);
    Target target(random, 400'000);
    // Files of more than so many blocks of 512 bytes cannot be written, as on a disk that is full.
    const std::string command = cat("trap '' XFSZ; ulimit -f ", 20 + random() % 600, "; ", target.command());
    REQUIRE(WEXITSTATUS(std::system(command.c_str())) == 1);
    REQUIRE(wrong_files(target.folder(), target.files) == 0);
    REQUIRE(target.fetch());
    REQUIRE(wrong_files(target.folder(), target.files) == 0);
    REQUIRE(names_in(target.folder()).size() == 5);
  }
}

TEST_CASE("Faults: a broken connection continues where it broke, and Retry-After is heeded") {
  HubTest test;
  std::atomic<int> answers = 0;
  const auto weights = model_files().at("model-00001-of-00002.safetensors").content.size();
  auto request = test.request();
  request.selection.include = {"model-00001*"};
  std::vector<std::int64_t> waits;
  test.retry.sleep = [&](std::chrono::milliseconds wait) { waits.push_back(wait.count()); };
  test.server.next_fault = [&]() -> std::optional<Fault> {
    switch (answers++) {
      case 0:
        return Fault::cut;
      case 1:
        return Fault::busy;
      default:
        return std::nullopt;
    }
  };
  hub::CurlTransport transport;
  notes_of([&] { hub::fetch_snapshot(transport, test.settings(), request, test.retry); });
  const auto seen = test.server.seen();
  REQUIRE(seen.size() == 5);  // the commit, the listing, three for the file
  CHECK(seen[2].range == "");
  CHECK(seen[3].range == cat("bytes=", weights / 2, "-"));
  CHECK(seen[4].range == seen[3].range);
  CHECK(waits == std::vector<std::int64_t>{1000, 1000});
}

TEST_CASE("Faults: a server that asks to wait for an hour is not waited for") {
  class Busy final : public hub::Transport {
   public:
    hub::HttpHead get(const hub::GetRequest&, const hub::HttpReceiver&) override {
      hub::HttpHead head;
      head.status = 429, head.retry_after_s = 3600;
      return head;
    }
  } transport;
  HubTest test;
  CHECK(contains(error_of([&] { hub::fetch_snapshot(transport, test.settings(), test.request(), test.retry); }),
                 "the server asks to wait 3600 s"));
}

TEST_CASE("Faults: of a file whose content is wrong twice nothing is left") {
  HubTest test;
  test.source = GENERATE(hub::Source::huggingface, hub::Source::modelscope);
  auto request = test.request();
  if (GENERATE(false, true)) request.local_dir = test.folder.path() / "model";
  test.server.next_fault = [] { return Fault::other_bytes; };
  hub::CurlTransport transport;
  std::string error;
  notes_of([&] { error = error_of([&] { hub::fetch_snapshot(transport, test.settings(), request, test.retry); }); });
  CHECK(contains(error, "it came twice"));
  for (const auto& entry : fs::recursive_directory_iterator(test.folder.path())) {
    CAPTURE(entry.path());
    CHECK(!entry.path().string().ends_with(".incomplete"));
  }
}

TEST_CASE("Faults: Ctrl-C keeps what has come, says so, and the same command continues") {
  Target target = [] {
    std::mt19937 random(GENERATE(1u, 2u, 3u, 4u));
    return Target(random, 1'000'000);
  }();
  std::atomic<pid_t> child = 0;
  target.test.server.chunk = 5000;
  target.test.server.on_body = [&, left = std::make_shared<std::atomic<int>>(60)](std::size_t) {
    if (--*left == 0 && child > 0) ::kill(child, SIGINT);
    std::this_thread::sleep_for(std::chrono::milliseconds(*left < 0 ? 20 : 2));  // lets it keep up, and stop
  };
  const fs::path said = target.test.folder.path() / "said";
  std::string command = target.command();
  command.replace(command.find(" >/dev/null 2>&1"), std::string::npos, cat(" >", quoted(said.string()), " 2>&1"));
  const int status = wait_status(command, child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 130);
  CHECK(contains(text_of(said), "interrupted: what has come of owner/name is kept in "));
  CHECK(contains(text_of(said), "; the same command continues there"));
  REQUIRE(wrong_files(target.folder(), target.files) == 0);
  const fs::recursive_directory_iterator entries(target.test.folder.path());
  const bool kept = std::any_of(begin(entries), end(entries), [](const auto& entry) {
    return entry.path().string().ends_with(".incomplete") && entry.file_size() > 0;
  });
  target.test.server.on_body = [](std::size_t) {};
  REQUIRE(target.fetch());
  CHECK(wrong_files(target.folder(), target.files) == 0);
  const auto seen = target.test.server.seen();
  CHECK(kept == std::any_of(seen.begin(), seen.end(), [](const Seen& s) { return !s.range.empty(); }));
}

TEST_CASE("Faults: Ctrl-C also ends waiting, for a lock and for another attempt") {
  HubTest test;
  auto request = test.request();
  request.selection.include = {"config.json"};
  const hub::Hash hash{hub::Hash::Kind::git, git_id(model_files().at("config.json").content)};
  const fs::path lock = test.settings().cache / ".locks/models--owner--name" / (hash.hex + ".lock");
  std::optional<hub::FileLock> held;
  if (GENERATE(true, false))
    held.emplace(lock, "a test");
  else
    test.server.next_fault = [] { return Fault::failing; };
  test.retry.first_wait = std::chrono::hours(1);
  test.retry.sleep = hub::interruptible_sleep;
  std::jthread user([&] {  // presses the keys when the listing was asked for
    while (test.server.seen().size() < 2) std::this_thread::yield();
    ::kill(::getpid(), SIGINT);
  });
  hub::CurlTransport transport;
  notes_of(
      [&] { CHECK_THROWS_AS(hub::fetch_snapshot(transport, test.settings(), request, test.retry), io::Interrupted); });
}

TEST_CASE("Faults: files of one content are fetched once, and wait for nobody") {
  HubTest test;
  HubFiles& files = test.server.repositories["models/owner/name"];
  for (int i = 0; i < 8; ++i) files[cat("same", i, ".safetensors")] = {content_of(50, 100'000), true};
  test.source = GENERATE(hub::Source::huggingface, hub::Source::modelscope);
  hub::CurlTransport transport;
  fs::path folder;
  const std::string notes =
      notes_of([&] { folder = hub::fetch_snapshot(transport, test.settings(), test.request(), test.retry); });
  CHECK(!contains(notes, "waiting"));
  CHECK(wrong_files(folder, files) == 0);
  CHECK(names_in(folder).size() == 13);
  const auto seen = test.server.seen();
  const auto fetched =
      std::count_if(seen.begin(), seen.end(), [](const Seen& s) { return contains(s.target, "same"); });
  CHECK(fetched == (test.source == hub::Source::huggingface ? 1 : 8));  // ModelScope's cache has no blobs
}
