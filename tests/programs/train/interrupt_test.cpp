// Ctrl-C, as a user presses it.
#include <signal.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "programs/program.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// Runs lamina-merge, which is signalled when it has begun to write.
Program interrupted_merge(const fs::path& folder, const fs::path& out) {
  const fs::path pid = folder / "pid";
  std::atomic<bool> ended = false;
  std::jthread user([&] {
    const auto has_begun = [&] {
      for (const auto& entry : fs::directory_iterator(folder))
        if (entry.path().filename().string().find("merged") != std::string::npos) return true;
      return false;
    };
    while (!ended && !has_begun()) std::this_thread::yield();
    pid_t child = 0;
    if (std::ifstream(pid) >> child && !ended) ::kill(child, SIGINT);
  });
  const Program ran = run_command(
      cat("echo $$ >", quoted(pid.string()), "; exec ", LAMINA_BIN_DIR,
          "/lamina-merge model_name_or_path=" LAMINA_SOURCE_DIR "/data/qwen3_vl_nano export_dir=", out.string()));
  ended = true;
  return ran;
}

}  // namespace

TEST_CASE("Programs: lamina-merge on Ctrl-C ends with status 130, and leaves nothing") {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "merged";
  Program ran;
  for (int trial = 0; trial < 50 && ran.status != 130; ++trial) {  // the signal may come too late
    fs::remove_all(out);
    ran = interrupted_merge(folder.path(), out);
    CAPTURE(ran.output);
    CHECK((ran.status == 0 || ran.status == 130));
  }
  CHECK(ran.status == 130);
  CHECK(contains(ran.output, "lamina-merge: interrupted: nothing was written"));
  for (const auto& entry : fs::directory_iterator(folder.path())) CHECK(entry.path().filename() == "pid");
}
