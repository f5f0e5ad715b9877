#include "train/fake_run.hpp"

#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>

#include "support/catch.hpp"
#include "train/helpers.hpp"

using namespace lamina;
using namespace lamina::train;
namespace fs = std::filesystem;

namespace {
nlohmann::json read_json_file(const fs::path& path) { return nlohmann::json::parse(std::ifstream(path)); }
std::vector<std::string> keys_and_types_of(const nlohmann::json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items())
    keys.push_back(key + ":" + (value.is_number() ? "number" : value.type_name()));
  return keys;
}
/// log_history without the times.
nlohmann::json timeless(nlohmann::json history) {
  for (auto& entry : history)
    for (const char* key : {"train_runtime", "train_samples_per_second", "train_steps_per_second", "eval_runtime",
                            "eval_samples_per_second", "eval_steps_per_second"})
      entry.erase(key);
  return history;
}
/// Runs f in a child process and gives its wait status.
template <class F>
int in_child(F f) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      f();
    } catch (const std::exception& e) {
      ::_exit(std::string(e.what()).find("space") != std::string::npos ? 3 : 4);
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}
}  // namespace

TEST_CASE("Trainer: windows, rates and files are those of transformers' Trainer", "[train]") {
  const auto dir = fake::fresh_directory("files");
  Arguments a = fake::arguments(dir);
  a.eval_strategy = Interval::steps, a.eval_steps = 3;
  fake::Run run(a, 11, true);
  const TrainingResult outcome = run.trainer.run();
  CHECK(outcome.ending == Ending::finished);
  CHECK(run.session.windows == std::vector<int>{4, 4, 3, 4, 4, 3});
  const auto golden = read_json_file(LAMINA_GOLDEN_DIR "/train/trainer_state.json");
  const auto ours = nlohmann::json::parse(to_text(outcome.state));
  CHECK(keys_and_types_of(ours) == keys_and_types_of(golden));
  REQUIRE(ours["log_history"].size() == golden["log_history"].size());
  for (std::size_t i = 0; i < golden["log_history"].size(); ++i) {
    CHECK(keys_and_types_of(ours["log_history"][i]) == keys_and_types_of(golden["log_history"][i]));
    CHECK(ours["log_history"][i]["step"] == golden["log_history"][i]["step"]);
    CHECK(ours["log_history"][i]["epoch"] == golden["log_history"][i]["epoch"]);
    if (golden["log_history"][i].contains("learning_rate"))
      CHECK(fake::near(ours["log_history"][i]["learning_rate"].get<double>(),
                       golden["log_history"][i]["learning_rate"].get<double>()));
  }
  for (const char* key : {"eval_steps", "logging_steps", "save_steps", "max_steps", "num_train_epochs",
                          "train_batch_size", "global_step", "epoch"})
    CHECK(ours[key] == golden[key]);
  CHECK(read_json_file(dir / "checkpoint-6/trainer_state.json")["stateful_callbacks"] == golden["stateful_callbacks"]);
  CHECK(keys_and_types_of(outcome.metrics) ==
        keys_and_types_of(read_json_file(LAMINA_GOLDEN_DIR "/train/train_results.json")));
  CHECK(list_checkpoints(dir).size() == 2);
  std::ifstream log(dir / "trainer_log.jsonl");
  std::string line;
  std::getline(log, line);
  CHECK(line.starts_with("{\"current_steps\": 2, \"total_steps\": 6, \"loss\": "));
  CHECK(line.find("\"epoch\": 0.6666666666666666, \"percentage\": 33.33, \"elapsed_time\": \"0:00:0") !=
        std::string::npos);
}

TEST_CASE("Trainer: eval loss is the plain mean of batch means", "[train]") {
  fake::Session session;
  fake::Evaluation evaluation;
  double sum = 0;
  for (int i = 0; i < 3; ++i) sum += session.evaluate(evaluation.batch(i).batch).loss;
  std::vector<std::int64_t> done;
  const OrderedJson metrics =
      evaluate_all(session, {"eval", evaluation}, parallel::alone(), [&](std::int64_t n) { done.push_back(n); });
  CHECK(fake::near(metrics["eval_loss"].get<double>(), sum / 3));
  CHECK(done == std::vector<std::int64_t>{1, 2, 3});
}

TEST_CASE("Trainer: each data set is evaluated by itself, and one of them decides which model is best", "[train]") {
  Arguments a = fake::arguments(fake::fresh_directory("each"));
  a.eval_strategy = Interval::epoch, a.save_strategy = Interval::epoch;
  a.eval_dataset = {"a", "b"}, a.eval_on_each_dataset = true;
  a.load_best_model_at_end = true, a.metric_for_best_model = "b_loss";
  fake::Run run(a);
  TrainerParts parts = run.parts(false);
  for (const std::string& name : a.eval_dataset) parts.evaluations.push_back({eval_prefix(name), run.evaluation});
  const TrainerState state = Trainer(run.a, parts).run().state;
  std::vector<std::string> evaluated;
  for (const auto& entry : state.log_history)
    for (const std::string& loss : a.eval_metrics()) {
      if (!entry.contains(loss)) continue;
      evaluated.push_back(loss);
      CHECK(entry[loss].get<double>() >= state.best_metric);
    }
  CHECK(evaluated == std::vector<std::string>{"eval_a_loss", "eval_b_loss", "eval_a_loss", "eval_b_loss"});
}

TEST_CASE("Trainer: the last step is evaluated though eval_steps does not divide it, unless eval_delay is later",
          "[train]") {
  for (const double delay : {0.0, 7.0}) {
    Arguments a = fake::arguments(fake::fresh_directory("last-evaluation"));
    a.eval_strategy = Interval::steps, a.eval_steps = 4, a.eval_delay = delay;
    fake::Run run(a, 11, true);
    std::vector<std::int64_t> steps;
    for (const auto& entry : run.trainer.run().state.log_history)
      if (entry.contains("eval_loss")) steps.push_back(entry["step"].get<std::int64_t>());
    CHECK(steps == (delay == 0 ? std::vector<std::int64_t>{4, 6} : std::vector<std::int64_t>{}));
  }
}

TEST_CASE("Trainer: resuming at any step goes on bit for bit", "[train]") {
  const auto whole_dir = fake::fresh_directory("whole");
  Arguments a = fake::arguments(whole_dir);
  a.save_steps = 1;
  fake::Run whole(a);
  const TrainingResult expected = whole.trainer.run();
  for (int step : {1, 2, 3, 4, 5}) {
    INFO("resumed at step " << step);
    Arguments b = a;
    b.output_dir = fake::fresh_directory("resumed");
    fs::copy(whole_dir / "trainer_log.jsonl", b.output_dir / "trainer_log.jsonl");
    fake::Run resumed(b);
    resumed.trainer.resume(whole_dir / cat("checkpoint-", step));
    const TrainingResult got = resumed.trainer.run();
    CHECK(resumed.session.all() == whole.session.all());
    CHECK(timeless(got.state.log_history) == timeless(expected.state.log_history));
    CHECK(got.metrics["train_loss"] == expected.metrics["train_loss"]);
    std::ifstream log(b.output_dir / "trainer_log.jsonl");
    int lines = 0;
    for (std::string line; std::getline(log, line);) ++lines;
    CHECK(lines == 4);  // steps 2, 4, 6 and the summary: none twice
  }
}

TEST_CASE("Trainer: a model-only checkpoint resumes with a warning and the schedule at its step", "[train]") {
  const auto dir = fake::fresh_directory("model-only");
  Arguments a = fake::arguments(dir);
  a.save_only_model = true;
  fake::Run first(a);
  first.trainer.run();
  CHECK(!fs::exists(dir / "checkpoint-4/optimizer.safetensors"));
  Arguments b = a;
  b.output_dir = fake::fresh_directory("model-only-resumed");
  fake::Run resumed(b);
  resumed.trainer.resume(dir / "checkpoint-4");
  resumed.trainer.run();
  CHECK(resumed.text.str().find("WARNING") != std::string::npos);
  CHECK(resumed.session.rates == std::vector<double>(first.session.rates.begin() + 4, first.session.rates.end()));
}

TEST_CASE("Trainer: a checkpoint of more layers than this run trains is refused, not cut down", "[train]") {
  const auto dir = fake::fresh_directory("more-layers");
  fake::Run first(fake::arguments(dir));
  first.trainer.run();
  const auto add_layer = [&](const fs::path& path, const std::vector<std::string>& names) {
    const auto file = checkpoint::Checkpoint::open(path);
    const std::vector<float> values(6);
    std::vector<checkpoint::TensorData> tensors;
    for (const std::string& name : names)
      tensors.push_back({name, DType::F32, {2, 3}, std::as_bytes(std::span(values))});
    for (const auto& t : file.tensors()) tensors.push_back({t.name, t.dtype, t.shape, file.data(t.name)});
    checkpoint::write_safetensors(path, tensors);
  };
  const auto resumed = [&] {
    fake::Run run(fake::arguments(fake::fresh_directory("more-layers-resumed")));
    return fake::error_of([&] { run.trainer.resume(dir / "checkpoint-4"); });
  };
  const std::string k = "base_model.model.model.language_model.layers.0.self_attn.k_proj.lora_";
  REQUIRE(resumed() == "");
  add_layer(dir / "checkpoint-4/optimizer.safetensors", {"exp_avg." + k + "A.weight"});
  CHECK(fake::contains(resumed(),
                       "optimizer.safetensors: 1 of 5 tensors have no place in this run, the first is "
                       "exp_avg." +
                           k + "A.weight"));
  add_layer(dir / "checkpoint-4/adapter_model.safetensors", {k + "A.weight", k + "B.weight"});
  CHECK(fake::contains(resumed(), "adapter_model.safetensors: 2 of 4 tensors have no place in this run, the first is " +
                                      k + "A.weight"));
  CHECK(fake::contains(resumed(), "lora_target"));
}

TEST_CASE("Trainer: resuming names the settings that are not those of the checkpoint, once each", "[train]") {
  const auto dir = fake::fresh_directory("changed-settings");
  std::ofstream(dir / "training_args.json")
      << R"({"learning_rate": "1e-3", "lora_dropout": "0.1", "template": "qwen3_vl", "seed": "1", "use_rslora": "yes"})";
  const io::Settings given = {
      {"learning_rate", {"0.001", ""}}, {"lora_dropout", {"0.2", ""}}, {"use_rslora", {true, ""}},
      {"cutoff_len", {"64", ""}},       {"seed", {"2", ""}},           {"dataset", {nullptr, ""}}};
  const std::string before = " when the checkpoint was made, this run has ";
  CHECK(changed_settings(given, dir) ==
        std::vector<std::string>{"warning: lora_dropout was 0.1" + before + "0.2",
                                 "warning: cutoff_len was not set" + before + "64",
                                 "warning: template was qwen3_vl" + before + "not set"});
  CHECK(changed_settings(given, dir / "absent").empty());
}

TEST_CASE("Trainer: kill -9 during a save leaves the last whole checkpoint", "[train]") {
  const auto dir = fake::fresh_directory("kill");
  Arguments a = fake::arguments(dir);
  a.save_steps = 2;
  const int status = in_child([&] {
    fake::Run run(a);
    run.after_weights = [&] {
      if (run.trainer.state().global_step == 4) ::kill(::getpid(), SIGKILL);
    };
    run.trainer.run();
  });
  REQUIRE(WIFSIGNALED(status));
  CHECK(fs::exists(dir / ".checkpoint-4.incomplete/adapter_model.safetensors"));
  std::string said;
  const auto newest = newest_checkpoint(dir, [&](const std::string& text) { said += text; });
  REQUIRE(newest);
  CHECK(newest->step == 2);
  fake::Run resumed(a);
  resumed.trainer.resume(newest->path);
  resumed.trainer.run();
  fake::Run whole(fake::arguments(fake::fresh_directory("unkilled")));
  whole.trainer.run();
  CHECK(resumed.session.all() == whole.session.all());
  CHECK(!fs::exists(dir / ".checkpoint-4.incomplete"));
}

TEST_CASE("Trainer: a damaged checkpoint is passed over and named", "[train]") {
  const auto dir = fake::fresh_directory("damaged");
  fake::Run run(fake::arguments(dir));
  run.trainer.run();
  fs::resize_file(dir / "checkpoint-6/optimizer.safetensors",
                  fs::file_size(dir / "checkpoint-6/optimizer.safetensors") - 1);
  std::string said;
  CHECK(newest_checkpoint(dir, [&](const std::string& text) { said += text; })->step == 4);
  CHECK(said.find("checkpoint-6 is not whole") != std::string::npos);
  fake::Run other(fake::arguments(dir));
  CHECK(fake::contains(fake::error_of([&] { other.trainer.resume(dir / "checkpoint-6"); }), "is not whole"));
}

TEST_CASE("Trainer: a full disk stops the run and keeps the last checkpoint", "[train]") {
  const auto dir = fake::fresh_directory("full");
  Arguments a = fake::arguments(dir);
  a.save_steps = 2;
  const int status = in_child([&] {
    fake::Run run(a);
    run.after_weights = [&] {
      if (run.trainer.state().global_step != 4) return;
      std::signal(SIGXFSZ, SIG_IGN);  // writes past the limit then fail as on a full disk
      const rlimit limit{64, 64};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    };
    run.trainer.run();
  });
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 3);
  CHECK(list_checkpoints(dir).back().step == 2);
  CHECK(!broken_reason(dir / "checkpoint-2"));
}

TEST_CASE("Trainer: an output directory that cannot be written stops at once", "[train]") {
  const auto dir = fake::fresh_directory("blocked");
  std::ofstream(dir / "file") << "x";
  CHECK(fake::contains(fake::error_of([&] { require_writable(dir / "file"); }), "output_dir"));
  CHECK(fake::contains(fake::error_of([&] { require_writable(dir / "file/below"); }), "choose another output_dir"));
  CHECK_NOTHROW(require_writable(dir / "new/deep"));
}

TEST_CASE("Trainer: a loss that is not finite names step and sample and saves nothing", "[train]") {
  const auto dir = fake::fresh_directory("nan");
  Arguments a = fake::arguments(dir);
  a.save_steps = 1;
  fake::Run run(a);
  run.rows.first_id = fake::poison - 5;  // ids 8 to 18, with the poison among them
  std::string message;
  try {
    run.trainer.run();
  } catch (const Error& e) {
    message = e.what();
  }
  CHECK(message.starts_with("step "));
  CHECK(message.find("the loss is nan, from rows.json row 13.") != std::string::npos);
  for (const auto& c : list_checkpoints(dir)) CHECK(c.step <= run.trainer.state().global_step);
  for (float value : run.session.all()) CHECK(std::isfinite(value));
}

TEST_CASE("Trainer: steps start ahead where nothing comes between; one that is not finite is told by its own number",
          "[train]") {
  const auto dir = fake::fresh_directory("ahead");
  Arguments a = fake::arguments(dir);
  a.save_steps = 100;
  fake::Run good(a);
  CHECK(good.trainer.run().ending == Ending::finished);
  CHECK(good.session.most_under_way == 2);
  a.save_steps = 1;
  fake::Run saves(a);
  saves.trainer.run();
  CHECK(saves.session.most_under_way == 1);
  CHECK(saves.session.all() == good.session.all());

  a.output_dir = fake::fresh_directory("nan-ahead");
  a.save_steps = 100;
  fake::Run bad(a);
  bad.rows.first_id = fake::poison - 5;
  std::string message;
  try {
    bad.trainer.run();
  } catch (const Error& e) {
    message = e.what();
  }
  CHECK(message.starts_with(
      cat("step ", bad.trainer.state().global_step + 1, ": the loss is nan, from rows.json row 13.")));
  CHECK(bad.session.most_under_way == 2);
  CHECK(list_checkpoints(a.output_dir).empty());
  CHECK(bad.session.rates.size() == static_cast<std::size_t>(bad.trainer.state().global_step));  // no update since
}

TEST_CASE("Trainer: an interruption ends the step, saves and says how to go on", "[train]") {
  const auto dir = fake::fresh_directory("interrupt");
  Arguments a = fake::arguments(dir);
  a.save_steps = 3;
  fake::Run run(a);
  run.after_weights = [&] {
    if (run.trainer.state().global_step == 3) ::raise(SIGINT);
  };
  const TrainingResult outcome = run.trainer.run();
  CHECK(outcome.ending == Ending::interrupted);
  CHECK(outcome.checkpoint == dir / "checkpoint-4");
  CHECK(!broken_reason(outcome.checkpoint));
  CHECK(run.text.str().find("resume_from_checkpoint=" + outcome.checkpoint.string()) != std::string::npos);
}

TEST_CASE("Trainer: the best model is kept, loaded, and early stopping ends the run", "[train]") {
  const auto dir = fake::fresh_directory("best");
  Arguments a = fake::arguments(dir);
  a.num_train_epochs = 30;
  a.schedule = ScheduleOptions();
  a.schedule.type = ScheduleType::constant;
  a.optimizer.learning_rate = 2.0;  // overshoots, so that some evaluations are worse
  a.eval_strategy = Interval::steps, a.eval_steps = 1, a.save_steps = 1;
  a.load_best_model_at_end = true, a.early_stopping_steps = 2, a.save_total_limit = 1;
  fake::Run run(a, 11, true);
  const TrainingResult outcome = run.trainer.run();
  CHECK(outcome.ending == Ending::stopped_early);
  REQUIRE(outcome.state.best_metric);
  CHECK(evaluate_all(run.session, {"eval", run.evaluation}, parallel::alone())["eval_loss"].get<double>() ==
        *outcome.state.best_metric);
  CHECK(fs::exists(*outcome.state.best_model_checkpoint));
  CHECK(list_checkpoints(dir).size() == 2);  // the best and the newest
}
