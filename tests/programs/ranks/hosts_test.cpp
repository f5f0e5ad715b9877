// Processes of two hosts, which two_hosts.sh makes of one.
#include <filesystem>
#include <fstream>
#include <iterator>

#include "programs/files.hpp"
#include "programs/ranks/ranks.hpp"
#include "programs/serve/serve_process.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

constexpr const char* two_hosts = LAMINA_SOURCE_DIR "/tests/programs/ranks/two_hosts.sh";

/// Whether this machine lets a user have namespaces.
bool has_two_hosts() {
  if (run_command(cat(two_hosts, " true")).status == 0) return true;
  WARN("SKIPPED: no namespaces for users here, or no iproute2 or util-linux");
  return false;
}
}  // namespace

TEST_CASE("Hosts: mpirun trains on two hosts as on one, to the bit") {
  const std::string launcher = mpirun(4);
  if (launcher.empty() || !has_two_hosts()) return;
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const std::vector<std::string> settings = {"max_samples=16", "num_train_epochs=1", "save_strategy=no"};
  const Program one = run_command(launcher + train_command(folder.path(), "one", settings));
  INFO(one.output);
  REQUIRE(one.status == 0);
  const std::string on_two =
      cat("OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --mca plm_rsh_agent ",
          quoted(cat(two_hosts, " on")), " --host node0:2,node1:2 --bind-to none --map-by ppr:2:node ");
  const Program two = run_command(cat(two_hosts, " ", quoted(on_two + train_command(folder.path(), "two", settings))));
  INFO(two.output);
  REQUIRE(two.status == 0);
  const std::string adapter = content_of(folder.path() / "one/adapter_model.safetensors");
  CHECK(!adapter.empty());
  CHECK(content_of(folder.path() / "two/adapter_model.safetensors") == adapter);
}

TEST_CASE("Hosts: processes of CPUs that torchrun starts on two hosts are told mpirun's command for both") {
  if (!has_two_hosts()) return;
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const Program ran = run_command(cat(two_hosts, " both ", train_command(folder.path(), "out", {"max_samples=4"})));
  CHECK(contains(ran.output, "rank 1: lamina-train: no GPU was found"));
  CHECK(contains(ran.output, "type mpirun -n 2 --host HOST0:1,HOST1:1 lamina-train FILE.yaml"));
}

TEST_CASE("Hosts: a model that two hosts share answers as on one") {
  if (!has_two_hosts()) return;
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const nlohmann::json question = {{"messages", {{{"role", "user"}, {"content", "How many hosts are there?"}}}},
                                   {"max_tokens", 12},
                                   {"temperature", 0}};
  const ServeProcess one(folder.path(), "one", "");
  const nlohmann::json wanted = one.ask(question);
  const ServeProcess two(folder.path(), "two", "-tp 2", cat(two_hosts, " both "));
  CHECK(two.ask(question)["message"]["content"] == wanted["message"]["content"]);
}
