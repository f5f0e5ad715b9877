// lamina-train on the tiny models and LLaMA-Factory's own demo data, against what LLaMA-Factory itself logged: equal
// steps, learning rates and losses. tests/reference/llamafactory_run.py wrote the golden files.
#include <yaml-cpp/yaml.h>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"

using lamina::testing::Program;
namespace fs = std::filesystem;

namespace {

std::vector<nlohmann::json> log_lines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// The golden run's own YAML, with the folders of this test.
std::string run_settings(const std::string& run, const fs::path& folder, const fs::path& data) {
  YAML::Node yaml = YAML::LoadFile(std::string(LAMINA_GOLDEN_DIR) + "/llamafactory/" + run + "/config.yaml");
  const std::string model = fs::path(yaml["model_name_or_path"].as<std::string>()).filename().string();
  REQUIRE(lamina::testing::make_model(model, folder / "model").status == 0);
  yaml["model_name_or_path"] = (folder / "model").string();
  yaml["dataset_dir"] = (data / "llamafactory/data").string();
  yaml["output_dir"] = (folder / "out").string();
  const fs::path file = folder / "train.yaml";
  std::ofstream(file) << yaml << "\n";
  return file.string();
}

}  // namespace

TEST_CASE("lamina-train: losses, steps and learning rates are LLaMA-Factory's on its demo data") {
  const char* data = std::getenv("LAMINA_TEST_DATA");
  if (!data) {
    WARN("SKIPPED: LAMINA_TEST_DATA names no folder with llamafactory/data");
    return;
  }
  const std::string run =
      GENERATE("qwen3_vl_nothink", "qwen3_vl", "qwen2_vl", "vision_lora", "full", "cutoff", "video", "video_qwen2_vl");
  INFO("run " << run);
  const lamina::testing::TemporaryFolder folder;
  const Program train = lamina::testing::run_program("lamina-train", {run_settings(run, folder.path(), data)});
  INFO(train.output);
  REQUIRE(train.status == 0);
  const auto ours = log_lines(folder.path() / "out/trainer_log.jsonl");
  const auto theirs = log_lines(std::string(LAMINA_GOLDEN_DIR) + "/llamafactory/" + run + "/trainer_log.jsonl");
  REQUIRE(ours.size() == theirs.size());
  int losses = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    INFO("line " << i << ": ours " << ours[i].dump() << " theirs " << theirs[i].dump());
    CHECK(ours[i].at("current_steps") == theirs[i].at("current_steps"));
    CHECK(ours[i].at("total_steps") == theirs[i].at("total_steps"));
    if (!theirs[i].contains("loss")) continue;
    ++losses;
    CHECK(std::abs(ours[i].at("loss").get<double>() - theirs[i].at("loss").get<double>()) <= 1e-4);
    CHECK(std::abs(ours[i].at("lr").get<double>() - theirs[i].at("lr").get<double>()) <= 1e-12);
  }
  CHECK(losses > 0);
}
