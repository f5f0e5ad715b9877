// lamina-train's evaluations against LLaMA-Factory's: tests/reference/evaluation_golden.py wrote the golden files.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "programs/files.hpp"
#include "programs/program.hpp"
#include "support/catch.hpp"

using namespace lamina::testing;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

const fs::path golden_evaluation = LAMINA_GOLDEN_DIR "/evaluation";

std::vector<Json> read_lines(const fs::path& path) {
  std::ifstream in(path);
  std::vector<Json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(Json::parse(line));
  return lines;
}
bool is_time(const std::string& key) {
  for (const char* part : {"time", "per_second", "throughput"})
    if (key.find(part) != std::string::npos) return true;
  return false;
}
/// The same keys, in the order of a log line, and equal values; times may differ, losses by rounding. What is ours
/// alone is left out, and transformers' preparation time.
void compare(Json ours, Json theirs) {
  for (const char* key : {"eval_exact_match", "predict_exact_match", "eval_rouge_units", "predict_rouge_units"})
    ours.erase(key);
  for (const char* key : {"eval_model_preparation_time", "predict_model_preparation_time", "total_flos"})
    theirs.erase(key), ours.erase(key);
  for (const char* key : {"grad_norm", "samples_per_second", "memory_gib"})  // of log lines
    if (!theirs.contains(key)) ours.erase(key);
  INFO("ours " << ours.dump() << " theirs " << theirs.dump());
  CHECK(ours.size() == theirs.size());
  for (const auto& [key, value] : theirs.items()) {
    INFO(key);
    REQUIRE(ours.contains(key));
    if (is_time(key)) continue;
    const bool rounds = value.is_number_float();
    CHECK((rounds ? std::abs(ours[key].get<double>() - value.get<double>()) <= 1e-4 : ours[key] == value));
  }
}
void compare_lines(const fs::path& ours, const fs::path& theirs) {
  const auto a = read_lines(ours), b = read_lines(theirs);
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) compare(a[i], b[i]);
}

Program run(const std::string& name, const fs::path& folder, std::vector<std::string> more = {}) {
  REQUIRE(make_model("qwen3_vl_tiny", folder / "model").status == 0);
  more.insert(more.begin(),
              {(golden_evaluation / name / "config.yaml").string(), "model_name_or_path=" + (folder / "model").string(),
               "dataset_dir=" + golden_evaluation.string(), "output_dir=" + (folder / "out").string()});
  return run_program("lamina-train", more);
}

}  // namespace

TEST_CASE("lamina-train: evaluations during and after training are LLaMA-Factory's, the last step's among them") {
  const std::string name = GENERATE("train", "each");
  const TemporaryFolder folder;
  const Program train = run(name, folder.path());
  INFO(train.output);
  REQUIRE(train.status == 0);
  const fs::path out = folder.path() / "out", theirs = golden_evaluation / name;
  compare_lines(out / "trainer_log.jsonl", theirs / "trainer_log.jsonl");
  compare(read_json(out / "eval_results.json"), read_json(theirs / "eval_results.json"));
  compare(read_json(out / "train_results.json"), read_json(theirs / "train_results.json"));
  const Json history = read_json(out / "trainer_state.json")["log_history"],
             wanted = read_json(theirs / "log_history.json");
  REQUIRE(history.size() == wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) compare(history[i], wanted[i]);
}

TEST_CASE("lamina-train: do_eval alone writes LLaMA-Factory's results and log") {
  const TemporaryFolder folder;
  const Program evaluate = run("evaluate", folder.path());
  INFO(evaluate.output);
  REQUIRE(evaluate.status == 0);
  compare(read_json(folder.path() / "out/eval_results.json"),
          read_json(golden_evaluation / "evaluate/eval_results.json"));
  compare_lines(folder.path() / "out/trainer_log.jsonl", golden_evaluation / "evaluate/trainer_log.jsonl");
}

TEST_CASE("lamina-train: do_eval with predict_with_generate scores answers, and cut prompts are counted") {
  const TemporaryFolder folder;
  const Program generate =
      run("generate", folder.path(), {"jieba_dictionary=" LAMINA_GOLDEN_DIR "/text/jieba/dict.txt"});
  INFO(generate.output);
  REQUIRE(generate.status == 0);
  const fs::path out = folder.path() / "out", theirs = golden_evaluation / "generate";
  compare_lines(out / "generated_predictions.jsonl", theirs / "generated_predictions.jsonl");
  for (const char* file : {"eval_results.json", "predict_results.json"})
    compare(read_json(out / file), read_json(theirs / file));
  CHECK(read_json(out / "eval_results.json").at("eval_rouge_units") == "words");
  compare_lines(out / "trainer_log.jsonl", theirs / "trainer_log.jsonl");
  CHECK(generate.output.find("note: cutoff_len: 40 cuts the end off ") != std::string::npos);
}
