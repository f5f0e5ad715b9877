#include <lamina/train/loop/resume_state.hpp>
#include <lamina/train/loop/trainer_state.hpp>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "support/catch.hpp"
#include "support/error_of.hpp"
#include "support/temporary_folder.hpp"

using namespace lamina;
using namespace lamina::train;

namespace {

const testing::TemporaryFolder folder;
const std::filesystem::path state_file = folder.path() / "trainer_state.json";

TrainerState state_of(const std::string& text) {
  std::ofstream(state_file) << text;
  return read_trainer_state(state_file);
}
std::string state_error(const std::string& text) {
  return testing::error_of([&] { state_of(text); });
}

}  // namespace

TEST_CASE("Trainer state: what is written is read, null and absent fields keep their defaults", "[train]") {
  TrainerState s;
  s.global_step = 5'000'000'000;
  s.max_steps = 7;
  s.epoch = 1.5;
  s.best_metric = 0.25;
  s.best_global_step = 3;
  s.best_model_checkpoint = "out/checkpoint-3";
  s.early_stopping_steps = 4;
  s.evaluations_without_gain = 2;
  s.log_history.push_back({{"epoch", 0.5}, {"loss", 1.0}, {"step", 1}});
  const TrainerState read = state_of(to_text(s));
  CHECK(read.global_step == s.global_step);
  CHECK(read.max_steps == 7);
  CHECK(read.epoch == 1.5);
  CHECK(read.best_metric == 0.25);
  CHECK(read.best_global_step == 3);
  CHECK(read.best_model_checkpoint == "out/checkpoint-3");
  CHECK(read.evaluations_without_gain == 2);
  CHECK(read.log_history == s.log_history);
  const TrainerState bare = state_of(R"({"global_step": 2, "train_batch_size": null, "best_metric": null})");
  CHECK(bare.global_step == 2);
  CHECK(bare.train_batch_size == 0);
  CHECK_FALSE(bare.best_metric);
  CHECK(bare.evaluations_without_gain == 0);
}

TEST_CASE("Trainer state: a wrong field is named with its path and what was expected", "[train]") {
  const std::string file = state_file.string();
  CHECK(state_error("{}") == file + ": global_step is missing");
  CHECK(state_error(R"({"global_step": "2"})") == file + ": global_step is \"2\", wanted an integer");
  CHECK(state_error(R"({"global_step": 2, "log_history": {}})") == file + ": log_history is {}, wanted a list");
  CHECK(state_error(R"({"global_step": 2, "log_history": [3]})") ==
        file + ": log_history[0]: got number, wanted an object");
  CHECK(state_error(R"({"global_step": 2, "log_history": [{"step": 1, "epoch": 1, "eval_loss": "x"}]})") ==
        file + ": log_history[0].eval_loss is \"x\", wanted a number");
  CHECK(state_error(R"({"global_step": 2, "stateful_callbacks": {"EarlyStoppingCallback": {"attributes": {
        "early_stopping_patience_counter": 0.5}}}})") ==
        file + ": stateful_callbacks.EarlyStoppingCallback.attributes.early_stopping_patience_counter is 0.5, " +
            "wanted an integer");
  CHECK(testing::contains(state_error("{\"global_step\": "), file + ": not valid JSON"));
}

TEST_CASE("Run position: seeds of 64 bits survive, and a folder without one has none", "[train]") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "lamina-resume-files-test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  CHECK_FALSE(read_position(folder));
  RunPosition p;
  p.seed = std::numeric_limits<std::uint64_t>::max();
  p.window = 9;
  p.loss_sum = 0.1;
  write_position(folder, p);
  const auto read = read_position(folder);
  REQUIRE(read);
  CHECK(read->seed == p.seed);
  CHECK(read->window == 9);
  CHECK(read->loss_sum == 0.1);
  std::ofstream(folder / "rng.json") << R"({"seed": -1})";
  CHECK(testing::error_of([&] { read_position(folder); }) ==
        (folder / "rng.json").string() + ": seed is -1, wanted an integer from 0");
  std::filesystem::remove_all(folder);
}
