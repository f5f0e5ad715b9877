#include <lamina/io/program/version.hpp>

#include <sys/stat.h>

#include <filesystem>

#include "programs/program.hpp"
#include "support/catch.hpp"

using lamina::testing::run_program;

TEST_CASE("Programs: each knows its version, its help, and 2 for a command line that it does not understand") {
  for (const char* program : {"lamina-train", "lamina-merge", "lamina-serve", "lamina-chat", "lamina-init",
                              "lamina-download", "lamina-draw-tables", "lamina-draw-images", "lamina-decode-video"}) {
    CAPTURE(program);
    if (!std::filesystem::exists(std::filesystem::path(LAMINA_BIN_DIR) / program)) continue;  // without FFmpeg
    const auto version = run_program(program, {"--version"});
    CHECK(version.status == 0);
    CHECK(version.output == std::string(lamina::version) + "\n");
    const auto help = run_program(program, {"--help"});
    CHECK(help.status == 0);
    CHECK(help.output.find("usage: " + std::string(program)) == 0);
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{}, {"--no_such_flag", "x"}, {"no_such_word"}, {"--version", "x"}, {"--help", "x"}}) {
      if (words.size() == 1 && std::string_view(program) == "lamina-serve") continue;  // the folder of a model
      const auto wrong = run_program(program, words);
      CHECK(wrong.status == 2);
      CHECK(wrong.output.find("usage: " + std::string(program)) == 0);
    }
  }
}

TEST_CASE("Programs: 2 for a variable of the environment that cannot be read, which is named") {
  const auto refused = [](const std::string& variable, const std::string& value, const std::string& command) {
    CAPTURE(variable, value, command);
    const auto ran = lamina::testing::run_command(variable + "=" + value + " " LAMINA_BIN_DIR "/" + command);
    CHECK(ran.status == 2);
    const std::string program = command.substr(0, command.find(' '));
    const std::string words = "\n" + program + ": " + variable.substr(variable.rfind(' ') + 1) + " (environment): is ";
    CHECK(ran.output.find(words + value) != std::string::npos);
  };
  for (const char* program : {"lamina-train", "lamina-merge", "lamina-serve", "lamina-chat", "lamina-init",
                              "lamina-download", "lamina-draw-tables"})
    for (const auto& [variable, value] : {std::pair{"OMP_NUM_THREADS", "abc"}, std::pair{"LAMINA_CPU_BF16", "yes"},
                                          std::pair{"LAMINA_LOG_LEVEL", "loud"}})
      refused(variable, value, std::string(program) + " x");
  const std::string train = "lamina-train --dry-run model_name_or_path=" LAMINA_SOURCE_DIR
                            "/data/qwen3_vl_tiny dataset=skills dataset_dir=" LAMINA_SOURCE_DIR
                            "/data template=qwen3_vl do_train=true output_dir=/nonexistent/out",
                    serve = "lamina-serve " LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny --device cpu -tp 2";
  for (const std::string& command : {train, serve}) {
    const std::string others = "MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 WORLD_SIZE=2 RANK=0 ";
    for (const char* variable : {"WORLD_SIZE", "RANK", "MASTER_PORT"}) refused(others + variable, "abc", command);
    refused(others + "LOCAL_RANK", "-1", command);
    refused("OMPI_COMM_WORLD_SIZE", "abc", command);
    refused("SLURM_STEP_NUM_TASKS", "abc", command);
  }
}

namespace {

const std::string tiny = LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny";
const std::string nowhere = "/nonexistent/x.yaml";

/// Words of lamina-train that ask for nothing wrong, up to its model.
std::vector<std::string> training(std::vector<std::string> more) {
  std::vector<std::string> words = {
      "model_name_or_path=" + tiny,  "dataset=skills", "dataset_dir=" LAMINA_SOURCE_DIR "/data", "template=qwen3_vl",
      "output_dir=/nonexistent/out", "do_train=true"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}
std::vector<std::string> merging(std::vector<std::string> more) {
  std::vector<std::string> words = {"model_name_or_path=" + tiny, "export_dir=/nonexistent/out"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

}  // namespace

TEST_CASE("Programs: 2 for words that no files could make right, whenever that is found out") {
  const std::pair<std::string, std::vector<std::string>> wrong[] = {
      {"lamina-train", training({"--dry-run", "template=qwen4"})},
      {"lamina-train", training({"--dry-run", "device=gpu9"})},
      {"lamina-train", training({"--dry-run", "weight_decay=-1"})},
      {"lamina-train", training({"--dry-run", "mix_strategy=shuffle"})},
      {"lamina-train", training({"--dry-run", "save_steps=0"})},
      {"lamina-train", training({"--output_dir"})},
      {"lamina-train", training({"--show-prompt", "0"})},
      {"lamina-train", training({"--show-prompt", "1", "--dry-run"})},
      {"lamina-train", {"--keys", "x"}},
      {"lamina-train", training({"--watch", "x"})},
      {"lamina-train", training({"--watch", "0", "--dry-run"})},
      {"lamina-train", {"--watch", "0"}},
      {"lamina-merge", merging({"export_size=1e-300"})},
      {"lamina-merge", merging({"export_size=0"})},
      {"lamina-merge", merging({"template=qwen4"})},
      {"lamina-merge", merging({"--export_dir"})},
      {"lamina-merge", {"model_name_or_path=" + tiny}},
      {"lamina-serve", {tiny, "--device", "gpu9"}},
      {"lamina-serve", {tiny, "--override-generation-config", R"({"temprature": 1})"}},
      {"lamina-serve", {tiny, "--override-generation-config", R"({"temperature": 1, "temperature": 2})"}},
      {"lamina-serve", {tiny, "--override-generation-config", R"({"top_p": 2})"}},
      {"lamina-serve", {tiny, "--limit-mm-per-prompt", R"({"image": 1, "image": 2})"}},
      {"lamina-serve", {tiny, "--limit-mm-per-prompt", "image=1,image=2"}},
      {"lamina-serve", {tiny, "--mm-processor-kwargs", R"({"min_pixels": 9, "max_pixels": 4})"}},
      {"lamina-serve", {tiny, "--default-chat-template-kwargs", R"({"messages": 1})"}},
      {"lamina-serve", {tiny, "--default-chat-template-kwargs", R"({"no_such_variable": 1})"}},
      {"lamina-serve", {tiny, "--chat-template", "{% for"}},
      {"lamina-serve", {tiny, "--api-key", ""}},
      {"lamina-chat", {"--model", tiny, "--prompt", "x", "--chat-template-kwargs", "{\"a\": 1"}},
      {"lamina-chat", {"--model", tiny, "--prompt", "x", "--chat-template-kwargs", R"({"messages": 1})"}},
      {"lamina-chat", {"--model", tiny, "--prompt", "x", "--chat-template-kwargs", R"({"no_such_variable": 1})"}},
      {"lamina-chat", {"--model", tiny, "--prompt", "x", "--adapter="}},
      {"lamina-chat", {"--model", tiny, "--prompt", "x", "--image="}},
      {"lamina-chat", {"--model", tiny, "--prompt", "x", "--revision="}},
      {"lamina-init", {"--model", tiny, "--out", ""}},
      {"lamina-init", {"--model", tiny, "--out", tiny + "/"}},
      {"lamina-train", training({"output_dir=" + tiny})},
      {"lamina-chat", {"--model", tiny, "--prompt", "x", "--greedy", "--temperature", "1"}},
      {"lamina-download", {"owner/name", "--max-workers", "0"}}};
  for (const auto& [program, words] : wrong) {
    const auto result = run_program(program, words);
    CAPTURE(program, words.back(), result.output);
    CHECK(result.status == 2);
    CHECK(result.output.find("usage: " + program) != std::string::npos);
  }
}

TEST_CASE("Programs: 1 for a file that is not there or is none, without the usage") {
  const lamina::testing::TemporaryFolder folder;
  const std::string pipe = (folder.path() / "pipe.yaml").string();
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  const std::pair<std::string, std::vector<std::string>> absent[] = {
      {"lamina-train", {nowhere}},
      {"lamina-train", {pipe}},
      {"lamina-merge", {nowhere}},
      {"lamina-merge", {pipe}},
      {"lamina-serve", {tiny, "--config", nowhere}},
      {"lamina-serve", {tiny, "--config", pipe}},
      {"lamina-serve", {tiny, "--chat-template", pipe}},
      {"lamina-serve", {tiny, "--generation-config", nowhere}},
      {"lamina-serve", {tiny, "--allowed-local-media-path", nowhere}},
      {"lamina-serve", {nowhere}},
      {"lamina-chat", {"--model", tiny, "--prompt", "x", "--image", pipe}}};
  for (const auto& [program, words] : absent) {
    const auto result = run_program(program, words);
    CAPTURE(program, words.back(), result.output);
    CHECK(result.status == 1);
    CHECK(result.output.find("usage: ") == std::string::npos);
  }
}

TEST_CASE("Programs: 1 for a model that is not there") {
  CHECK(run_program("lamina-merge", {"model_name_or_path=/nonexistent", "export_dir=/nonexistent/out"}).status == 1);
  CHECK(run_program("lamina-chat", {"--model", "/nonexistent", "--prompt", "x"}).status == 1);
  CHECK(run_program("lamina-serve", {"/nonexistent"}).status == 1);
  const auto init = run_program("lamina-init", {"--model", "/nonexistent", "--out", "/nonexistent/out"});
  CHECK(init.status == 1);
  CHECK(init.output == "lamina-init: /nonexistent: no such folder, wanted one that holds config.json\n");
}

TEST_CASE("Programs: an error of the file system is a path and a reason") {
  const auto draw = run_program("lamina-draw-tables", {"--out", "/dev/null/out"});
  CHECK(draw.status == 1);
  CHECK(draw.output == "lamina-draw-tables: /dev/null/out/tables: Not a directory\n");
  const auto init = run_program("lamina-init", {"--model", tiny, "--out", "/dev/null/out"});
  CHECK(init.status == 1);
  CHECK(init.output == "lamina-init: --out /dev/null/out: cannot be created: Not a directory: choose another folder\n");
}
