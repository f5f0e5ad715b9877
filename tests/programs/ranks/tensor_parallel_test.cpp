// lamina-serve as several processes that share a model.
#include <signal.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include <lamina/core/error.hpp>
#include <lamina/model/open_model.hpp>

#include "programs/serve/serve_process.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/made/image_url.hpp"
#include "support/made/random_adapter.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// Whether a process, which may be nobody's child any more, is gone within some seconds.
bool gone(pid_t pid, int within_s) {
  for (int trial = 0; trial < 20 * within_s && ::kill(pid, 0) == 0; ++trial) {
    std::string name, state;
    std::ifstream(cat("/proc/", pid, "/stat")) >> name >> name >> state;
    if (state == "Z") return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return ::kill(pid, 0) != 0;
}

/// Questions of every kind that a rank alone must see to: images, noise, penalties, structure, logprobs.
std::vector<nlohmann::json> questions(bool has_adapter) {
  std::vector<nlohmann::json> out;
  for (int kind = 0; kind < 12; ++kind) {
    std::string text = "The same beginning of every question, long enough to fill a page. ";
    for (int i = 0; i < 3 * kind; ++i) text += cat("word", i * kind % 13, " ");
    nlohmann::json content = nlohmann::json::array({{{"type", "text"}, {"text", text}}});
    if (kind % 3 == 0)
      content.push_back({{"type", "image_url"}, {"image_url", {{"url", image_url(64, 32 + 32 * (kind % 4), 7)}}}});
    nlohmann::json body = {{"messages", nlohmann::json::array({{{"role", "user"}, {"content", content}}})},
                           {"max_tokens", 12},
                           {"return_token_ids", true},
                           {"temperature", kind % 2 ? 0.8 : 0},
                           {"seed", kind}};
    if (has_adapter && kind % 5 > 2) body["model"] = "named";
    if (kind % 4 == 1) body["repetition_penalty"] = 1.3, body["min_tokens"] = 6;
    if (kind % 4 == 2) body["logprobs"] = true, body["top_logprobs"] = 3;
    if (kind == 7) body["guided_regex"] = "(yes|no) [0-9]{4}";
    out.push_back(std::move(body));
  }
  return out;
}
std::vector<nlohmann::json> answers(const ServeProcess& server) {
  std::vector<std::future<nlohmann::json>> asked;
  for (const nlohmann::json& question : questions(server.has_adapter()))
    asked.push_back(std::async(std::launch::async, [&server, question] { return server.ask(question); }));
  std::vector<nlohmann::json> out;
  for (auto& answer : asked) out.push_back(answer.get());
  return out;
}
void check_equal(const std::vector<nlohmann::json>& ours, const std::vector<nlohmann::json>& wanted) {
  REQUIRE(ours.size() == wanted.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    CAPTURE(i);
    CHECK(ours[i]["token_ids"] == wanted[i]["token_ids"]);
    CHECK(ours[i]["message"]["content"] == wanted[i]["message"]["content"]);
    if (!wanted[i].contains("logprobs") || wanted[i]["logprobs"].is_null()) continue;
    const nlohmann::json &own = ours[i]["logprobs"]["content"], &theirs = wanted[i]["logprobs"]["content"];
    REQUIRE(own.size() == theirs.size());
    for (std::size_t k = 0; k < own.size(); ++k)
      CHECK(std::abs(own[k]["logprob"].get<double>() - theirs[k]["logprob"].get<double>()) < 1e-4);
  }
}

}  // namespace

TEST_CASE("Tensor parallel: two processes answer as one, whatever a request asks for") {
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const fs::path folded = folder.path() / "folded", named = folder.path() / "named";
  write_random_adapter(folded, layers_with(tensors_of(folder.path() / "model"), "language"), 3, 1);
  write_random_adapter(named, layers_with(tensors_of(folder.path() / "model"), ""), 4, 2);
  const std::string adapters =
      cat("--adapter ", folded.string(), " --enable-lora --lora-modules named=", named.string());
  ServeProcess one(folder.path(), "one", adapters), two(folder.path(), "two", cat("-tp 2 ", adapters));
  check_equal(answers(two), answers(one));
  const pid_t second = two.child();
  CHECK(second > 0);
  two.send(SIGINT);
  const Program ended = two.result();
  INFO(ended.output);
  CHECK(ended.status == 0);
  CHECK(contains(ended.output, "memory of each of 2 ranks: weights "));
  CHECK_FALSE(contains(ended.output, "has ended"));
  CHECK(gone(second, 10));
}

TEST_CASE("Tensor parallel: a rank that is killed ends the other, with a message") {
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const bool first = GENERATE(false, true);
  ServeProcess server(folder.path(), "server", "--tensor-parallel-size 2");
  const pid_t second = server.child();
  REQUIRE(second > 0);
  ::kill(first ? server.pid() : second, SIGKILL);
  REQUIRE(server.ended(30));
  const Program ended = server.result();
  INFO(ended.output);
  CHECK(ended.status == (first ? 128 + SIGKILL : 1));
  const bool told = contains(ended.output, "rank 0 of 2 has ended") ||
                    contains(ended.output, "the connection to rank 0 is closed");  // whoever notices first says it
  CHECK((first ? told : contains(ended.output, "rank 1 of 2 has ended (signal 9), so all ranks end")));
  CHECK(gone(second, 30));
}

TEST_CASE("Tensor parallel: a model that cannot be divided so is refused, with the numbers that would do") {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& model, const std::string& words) {
    REQUIRE(make_model(model, folder.path() / model).status == 0);
    const Program ran =
        run_command(cat(LAMINA_BIN_DIR "/lamina-serve ", (folder.path() / model).string(), " --device cpu ", words));
    CHECK(ran.status == 2);
    return ran.output;
  };
  CHECK(
      contains(refused("qwen3_vl_tiny", "-tp 3"),
               "qwen3_vl_tiny cannot be divided among 3: the number must divide its query heads, intermediate_size and "
               "vocab_size, and divide its key/value heads or be a multiple of them; 2, 4 would do"));
  CHECK(contains(refused("qwen3_vl_nano", "-tp 2"), "; no number does"));
}

TEST_CASE("Tensor parallel: processes that mpirun starts share a model") {
  if (run_command("command -v mpirun").status != 0 || LAMINA_MPI == 0) {
    WARN("SKIPPED: no mpirun, or the programs were built without MPI");
    return;
  }
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  ServeProcess one(folder.path(), "one", ""),
      two(folder.path(), "two", "-tp 2",
          "env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe --bind-to none -n 2 ");
  check_equal(answers(two), answers(one));
}
