// lamina-train as several processes of one host, started by mpirun.
#include <signal.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "programs/files.hpp"
#include "programs/ranks/ranks.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// The values of those keys, line by line.
std::vector<double> logged(const fs::path& out, const std::vector<const char*>& keys) {
  std::ifstream in(out / "trainer_log.jsonl");
  std::vector<double> values;
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);  // the last one may be half written
    for (const char* key : keys)
      if (entry.contains(key)) values.push_back(entry.at(key));
  }
  return values;
}
void check_near(const std::vector<double>& ours, const std::vector<double>& wanted, double tolerance) {
  REQUIRE(ours.size() == wanted.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    CAPTURE(i, ours[i], wanted[i]);
    CHECK(std::abs(ours[i] - wanted[i]) <= tolerance);
  }
}

/// A row of the memory plan.
double planned_mib(const std::string& output, const std::string& row) {
  const std::size_t at = output.find("\n  " + row + " ");
  REQUIRE(at != std::string::npos);
  return std::stod(output.substr(at + 4 + row.size()));
}

/// A run whose rank 1 is signalled after a few steps.
Program signalled_run(const std::string& launcher, const fs::path& folder, int signal,
                      const std::vector<std::string>& settings) {
  const fs::path pid_file = folder / "pid";
  const std::string second =
      cat("sh -c 'test $OMPI_COMM_WORLD_RANK = 1 && echo $$ > ", pid_file.string(), "; exec \"$@\"' - ");
  std::jthread user([&] {
    for (int trial = 0; trial < 1200 && logged(folder / "out", {"loss"}).size() < 3; ++trial)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    pid_t rank = 0;
    if (std::ifstream(pid_file) >> rank) ::kill(rank, signal);
  });
  return run_command(launcher + second + train_command(folder, "out", settings));
}

}  // namespace

TEST_CASE("Ranks: two and four processes train as one does with the same window, LoRA and full") {
  const int ranks = GENERATE(2, 4);
  const std::string type = GENERATE("lora", "full");
  const std::string launcher = mpirun(ranks);
  if (launcher.empty()) return;
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const auto run = [&](const std::string& before, const std::string& out, int accumulation) {
    const Program ran =
        run_command(before + train_command(folder.path(), out,
                                           {"finetuning_type=" + type, "max_samples=36", "val_size=12",
                                            "eval_strategy=epoch", "per_device_eval_batch_size=2", "save_strategy=no",
                                            "num_train_epochs=2", cat("gradient_accumulation_steps=", accumulation)}));
    INFO(ran.output);
    REQUIRE(ran.status == 0);  // it also compares the ranks' weights bit for bit
    CHECK(contains(ran.output, "distributed & accumulation) = 8"));
    return logged(folder.path() / out, {"loss", "eval_loss"});
  };
  const auto one = run("", "one", 4);
  CHECK(one.size() == 8);
  check_near(run(launcher, "several", 4 / ranks), one, 1e-6);
}

TEST_CASE("Ranks: an optimizer that processes share trains as one does, in less memory, and resumes on any number") {
  const std::string launcher = mpirun(2);
  if (launcher.empty()) return;
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const auto run = [&](const std::string& before, const std::string& out, std::vector<std::string> more) {
    more.insert(more.end(), {"finetuning_type=full", "max_samples=32", "save_steps=2", "num_train_epochs=1",
                             before.empty() ? "gradient_accumulation_steps=4" : "gradient_accumulation_steps=2"});
    const Program ran = run_command(before + train_command(folder.path(), out, more));
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    return ran.output;
  };
  const std::string zero = "deepspeed={zero_optimization: {stage: 1}}";
  const double whole = planned_mib(run("", "one", {}), "optimizer");
  const std::string output = run(launcher, "two", {zero});
  CHECK(std::abs(planned_mib(output, "optimizer") - whole / 2) < 0.1);
  const auto one = logged(folder.path() / "one", {"loss"});
  check_near(logged(folder.path() / "two", {"loss"}), one, 1e-6);
  const auto bytes = [&](const fs::path& file) { return content_of(folder.path() / file); };
  for (const char* file : {"checkpoint-2/model.safetensors", "checkpoint-2/optimizer.safetensors", "model.safetensors"})
    CHECK(fs::file_size(folder.path() / "two" / file) == fs::file_size(folder.path() / "one" / file));
  // From the shared run's checkpoint: two that share, two that do not, and one go on alike.
  const std::string from = "resume_from_checkpoint=" + (folder.path() / "two/checkpoint-2").string();
  run(launcher, "again", {zero, from});
  CHECK(bytes("again/model.safetensors") == bytes("two/model.safetensors"));
  CHECK(bytes("again/checkpoint-4/optimizer.safetensors") == bytes("two/checkpoint-4/optimizer.safetensors"));
  run(launcher, "whole", {from});
  CHECK(bytes("whole/model.safetensors") == bytes("two/model.safetensors"));
  run("", "alone", {from});
  const std::vector<double> rest(one.begin() + 2, one.end());
  check_near(logged(folder.path() / "alone", {"loss"}), rest, 1e-6);
}

TEST_CASE("Ranks: gradients that processes divide train as whole ones do, in less memory, and resume on any number") {
  const int ranks = GENERATE(2, 4);
  const std::string launcher = mpirun(ranks), other = mpirun(6 - ranks);
  if (launcher.empty()) return;
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const auto run = [&](const std::string& before, int processes, const std::string& out,
                       std::vector<std::string> more) {
    more.insert(more.end(), {"finetuning_type=full", "freeze_vision_tower=false", "freeze_multi_modal_projector=false",
                             "max_samples=32", "save_steps=2", "num_train_epochs=1", "learning_rate=1e-4",
                             cat("gradient_accumulation_steps=", 4 / processes)});
    const Program ran = run_command(before + train_command(folder.path(), out, more));
    INFO(ran.output);
    REQUIRE(ran.status == 0);  // it also compares the ranks' weights bit for bit
    return ran.output;
  };
  const std::string divided = "deepspeed={zero_optimization: {stage: 2}}";
  const std::string whole_plan = run(launcher, ranks, "whole", {"deepspeed={zero_optimization: {stage: 1}}"});
  const std::string plan = run(launcher, ranks, "divided", {divided});
  const double saved = planned_mib(whole_plan, "gradients") - planned_mib(plan, "gradients");
  CHECK(saved > 0.1 * planned_mib(whole_plan, "gradients"));
  const std::size_t said = plan.find("room for those that backward works on: ");
  REQUIRE(said != std::string::npos);
  CHECK(std::abs(std::stod(plan.substr(said + 39)) - saved) < 0.11);
  CHECK(std::abs(planned_mib(whole_plan, "total") - planned_mib(plan, "total") - saved) < 0.11);
  run("", 1, "one", {});
  const auto one = logged(folder.path() / "one", {"loss"});
  check_near(logged(folder.path() / "divided", {"loss"}), one, 1e-6);
  // Two summands have one sum, whatever their order; of four, MPI chooses the order for each operation.
  const auto model = [&](const char* out) { return content_of(folder.path() / out / "model.safetensors"); };
  if (ranks == 2) CHECK(model("divided") == model("whole"));
  const std::string from = "resume_from_checkpoint=" + (folder.path() / "divided/checkpoint-2").string();
  run(launcher, ranks, "again", {"fsdp=full_shard", from});
  CHECK(model("again") == model("divided"));
  const std::vector<double> rest(one.begin() + 2, one.end());
  run(other, 6 - ranks, "other", {divided, from});
  check_near(logged(folder.path() / "other", {"loss"}), rest, 1e-6);
}

TEST_CASE("Ranks: losses and learning rates are LLaMA-Factory's under torchrun, a ragged end included") {
  const char* data = std::getenv("LAMINA_TEST_DATA");
  const std::string run = GENERATE("lora_2", "full_2", "lora_4");
  const std::string launcher = mpirun(run.back() - '0');
  if (!data || launcher.empty()) {
    WARN("SKIPPED: LAMINA_TEST_DATA names no folder with llamafactory/data");
    return;
  }
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const fs::path golden = fs::path(LAMINA_GOLDEN_DIR) / "llamafactory_ranks" / run;
  const Program ran = run_command(cat(launcher, LAMINA_BIN_DIR "/lamina-train ", (golden / "config.yaml").string(),
                                      " model_name_or_path=", (folder.path() / "model").string(), " dataset_dir=", data,
                                      "/llamafactory/data output_dir=", (folder.path() / "out").string()));
  INFO(ran.output);
  REQUIRE(ran.status == 0);
  check_near(logged(folder.path() / "out", {"loss"}), logged(golden, {"loss"}), 2e-6);
  CHECK(logged(folder.path() / "out", {"lr", "epoch", "total_steps"}) ==
        logged(golden, {"lr", "epoch", "total_steps"}));
  const auto norms = [](const nlohmann::json& history) {
    std::vector<double> values;
    for (const auto& entry : history)
      if (entry.contains("grad_norm")) values.push_back(entry.at("grad_norm"));
    return values;
  };
  check_near(norms(nlohmann::json::parse(std::ifstream(folder.path() / "out/trainer_state.json"))["log_history"]),
             norms(nlohmann::json::parse(std::ifstream(golden / "steps.json"))), 1e-4);
}

TEST_CASE("Ranks: the answers of two processes are those of one, in the records' order") {
  const std::string launcher = mpirun(2);
  if (launcher.empty()) return;
  const TemporaryFolder folder;
  const auto answers = [&](const std::string& before, const std::string& out) {
    const Program ran = run_command(
        cat(before, LAMINA_BIN_DIR "/lamina-train device=cpu stage=sft do_predict=true predict_with_generate=true ",
            "model_name_or_path=" LAMINA_SOURCE_DIR "/data/qwen3_vl_nano dataset_dir=" LAMINA_SOURCE_DIR "/data ",
            "eval_dataset=tables_heldout max_samples=5 template=qwen3_vl_nothink cutoff_len=512 max_new_tokens=24 ",
            "output_dir=", (folder.path() / out).string()));
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    std::ifstream in(folder.path() / out / "generated_predictions.jsonl");
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string one = answers("", "one");
  CHECK(std::count(one.begin(), one.end(), '\n') == 5);
  CHECK(answers(launcher, "two") == one);
}

TEST_CASE("Ranks: one that is killed ends the others, and the last checkpoint resumes as one process") {
  const std::string launcher = mpirun(2);
  if (launcher.empty()) return;
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const std::vector<std::string> settings = {"max_samples=30", "save_steps=1", "save_total_limit=2"};
  auto endless = settings, rest = settings;
  endless.push_back("max_steps=100000");
  const Program killed = signalled_run(launcher, folder.path(), SIGKILL, endless);
  INFO(killed.output);
  CHECK(killed.status != 0);
  CHECK(contains(killed.output, "rank 1 of 2 has ended"));
  std::int64_t last_step = 0;
  for (const auto& entry : fs::directory_iterator(folder.path() / "out"))
    if (const std::string name = entry.path().filename().string(); name.starts_with("checkpoint-"))
      last_step = std::max<std::int64_t>(last_step, std::stoll(name.substr(11)));
  CHECK(last_step >= 2);
  rest.insert(rest.end(),
              {"resume_from_checkpoint=true", "gradient_accumulation_steps=2", cat("max_steps=", last_step + 2)});
  const Program resumed = run_command(train_command(folder.path(), "out", rest));
  INFO(resumed.output);
  CHECK(resumed.status == 0);
  CHECK(contains(resumed.output, cat("Resuming from ", (folder.path() / "out/checkpoint-").string(), last_step)));
}

TEST_CASE("Ranks: Ctrl-C to one of them stops all after the same step, with a checkpoint") {
  const std::string launcher = mpirun(2);
  if (launcher.empty()) return;
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const Program ran =
      signalled_run(launcher, folder.path(), SIGINT, {"max_samples=30", "save_strategy=no", "max_steps=100000"});
  INFO(ran.output);
  CHECK(ran.status == 130);
  CHECK(contains(ran.output, "Interrupted after step"));
  CHECK_FALSE(contains(ran.output, "has ended"));
  int checkpoints = 0;
  for (const auto& entry : fs::directory_iterator(folder.path() / "out"))
    checkpoints += entry.path().filename().string().starts_with("checkpoint-");
  CHECK(checkpoints == 1);
}

TEST_CASE("Ranks: a loss that is not finite ends all of them, and names the sample") {
  const std::string launcher = mpirun(2);
  if (launcher.empty()) return;
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const Program ran = run_command(launcher + train_command(folder.path(), "out",
                                                           {"max_samples=30", "learning_rate=1e18", "max_grad_norm=0",
                                                            "lr_scheduler_type=constant", "max_steps=20"}));
  INFO(ran.output);
  CHECK(ran.status == 1);
  CHECK(contains(ran.output, "The optimizer step was not taken"));
  CHECK(contains(ran.output, "tables_train"));
}

TEST_CASE("Ranks: processes of CPUs that torchrun starts are told how to start") {
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_tiny", folder.path() / "model").status == 0);
  const std::string command = train_command(folder.path(), "out", {"max_samples=4"});
  const Program ran =
      run_command(cat("{ export WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=", 20000 + ::getpid() % 20000,
                      "; RANK=1 LOCAL_RANK=1 ", command, " & RANK=0 LOCAL_RANK=0 ", command, "; wait; }"));
  CHECK(contains(ran.output, "type mpirun -n 2 lamina-train FILE.yaml"));
}
