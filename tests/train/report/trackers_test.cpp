#include <lamina/train/report/trackers.hpp>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "hub/hostile/hostile_server.hpp"
#include "support/catch.hpp"
#include "support/python.hpp"
#include "train/fake_run.hpp"

using namespace lamina;
using namespace lamina::train;

namespace {

/// Answers as an MLflow server does, and keeps what it was sent.
struct MlflowStub final : hub::Transport {
  std::vector<std::pair<std::string, OrderedJson>> calls;
  std::vector<std::string> headers;
  std::string known_experiment;

  hub::HttpHead get(const hub::GetRequest& request, const hub::HttpReceiver& receiver) override {
    const std::string what = request.url.substr(request.url.find("mlflow/") + 7);
    calls.emplace_back(what, OrderedJson::parse(*request.post));
    headers = request.headers;
    OrderedJson answer = OrderedJson::object();
    if (what == "runs/create") answer = {{"run", {{"info", {{"run_id", "r1"}}}}}};
    if (what == "experiments/create") answer = {{"experiment_id", "7"}};
    if (what == "experiments/search" && !known_experiment.empty())
      answer = {{"experiments", {{{"experiment_id", known_experiment}}}}};
    const std::string body = answer.dump();
    receiver.body(std::as_bytes(std::span(body)));
    hub::HttpHead head;
    head.status = 200;
    return head;
  }
};

/// A variable of the environment for as long as this lives.
struct Variable {
  const char* name;
  Variable(const char* name, const std::string& value) : name(name) { ::setenv(name, value.c_str(), 1); }
  ~Variable() { ::unsetenv(name); }
};

struct TrackedRun {
  std::filesystem::path folder;
  Arguments a;
  std::ostringstream out;
  Console console{out, false};

  explicit TrackedRun(const char* name) : folder(fake::fresh_directory(name)) {
    std::ofstream(folder / "config.json") << "{}";
    a.output_dir = a.model_name_or_path = folder, a.run_name = "first try";
    a.given["learning_rate"] = {1e-4, "test"};
    a.given["hf_hub_token"] = {"hf_secret", "test"};
  }
  void track(std::vector<std::string> report_to) {
    a.report_to = std::move(report_to);
    Trackers trackers(a, console);
    trackers.log({{"loss", 2.5}, {"rewards/chosen", -0.5}, {"note", "no number"}, {"step", 1}});
    trackers.log({{"loss", 1.5}, {"step", 2}});
    trackers.log({{"eval_loss", 1.25}, {"step", 2}});
    trackers.finish(true);
  }
};

int python_script(const std::string& command, const std::filesystem::path& folder, const std::string& redirect = "") {
  return std::system(cat("'", testing::python(), "' -W ignore ", LAMINA_SOURCE_DIR,
                         "/tests/reference/tracking_server.py ", command, " '", folder.string(), "' ", redirect)
                         .c_str());
}

}  // namespace

TEST_CASE("MLflow: a run has its settings as parameters, and metrics at their steps", "[train]") {
  const auto stub = std::make_shared<MlflowStub>();
  stub->known_experiment = "3";
  Mlflow run({.uri = "http://m", .experiment = "it's", .token = "t", .run_name = "n"},
             {{"learning_rate", 0.001}, {"dataset", "a"}, {"long", std::string(300, 'x')}}, stub);
  run.log({{"loss", 2.5}, {"nothing", NAN}, {"note", "text"}, {"step", 10}});
  run.finish(false);
  CHECK(run.url() == "http://m/#/experiments/3/runs/r1");
  REQUIRE(stub->calls.size() == 5);
  CHECK(stub->calls[0].second["filter"] == "name = 'it''s'");
  CHECK(stub->calls[1].second["run_name"] == "n");
  CHECK(stub->calls[2].second["params"].dump() ==
        R"([{"key":"learning_rate","value":"0.001"},{"key":"dataset","value":"a"}])");
  REQUIRE(stub->calls[3].second["metrics"].size() == 1);
  CHECK(stub->calls[3].second["metrics"][0]["step"] == 10);
  CHECK(stub->calls[4].second["status"] == "KILLED");
  CHECK(stub->headers.back() == "Authorization: Bearer t");
}

TEST_CASE("MLflow: an experiment that is not there is made", "[train]") {
  const auto stub = std::make_shared<MlflowStub>();
  Mlflow run({.uri = "http://m", .experiment = "new"}, OrderedJson::object(), stub);
  CHECK(run.url() == "http://m/#/experiments/7/runs/r1");
}

TEST_CASE("Trackers: without a server's address, with one that refuses or has gone, the run goes on", "[train]") {
  TrackedRun run("mlflow");
  run.track({"mlflow"});
  CHECK(run.out.str().find("warning: report_to: mlflow: MLFLOW_TRACKING_URI is \"\"") == 0);
  testing::HostileServer server([](const std::string& path) {
    return path.find("runs/create") != std::string::npos
               ? testing::whole_reply(200, R"({"run": {"info": {"run_id": "r"}}})")
               : testing::whole_reply(403, "no");
  });
  const Variable uri("MLFLOW_TRACKING_URI", server.url() + "/");
  TrackedRun refused("mlflow");
  refused.track({"mlflow", "tensorboard"});
  CHECK(refused.out.str().find("warning: report_to: mlflow: " + server.url()) != std::string::npos);
  CHECK(refused.out.str().find("runs/log-batch: status 403: nothing more goes there; the run goes on") !=
        std::string::npos);
  CHECK(std::filesystem::is_directory(refused.folder / "runs"));  // TensorBoard's
}

TEST_CASE("Trackers: a package that Python does not have is named, with what to do", "[train]") {
  const auto folder = fake::fresh_directory("python");
  std::ofstream(folder / "python") << "#!/bin/sh\nexit 1\n";
  std::filesystem::permissions(folder / "python", std::filesystem::perms::owner_all);
  const std::string before = testing::python();
  ::setenv("LAMINA_PYTHON", (folder / "python").c_str(), 1);
  TrackedRun run("wandb");
  run.track({"wandb"});
  ::setenv("LAMINA_PYTHON", before.c_str(), 1);
  CHECK(run.out.str().find("does not have the package wandb: pip install wandb, or let LAMINA_PYTHON name") !=
        std::string::npos);
}

TEST_CASE("Trackers: a real MLflow server has the run", "[train]") {
  if (!testing::has_modules("mlflow")) return;
  const auto folder = fake::fresh_directory("mlflow_server");
  REQUIRE(python_script("start", folder) == 0);
  {
    const Variable uri("MLFLOW_TRACKING_URI", io::read_text(folder / "url")), name("MLFLOW_EXPERIMENT_NAME", "lamina");
    TrackedRun run("mlflow");
    run.track({"mlflow"});
    INFO(run.out.str());
    CHECK(run.out.str().find("MLflow: values go to http://127.0.0.1:") == 0);
  }
  CHECK(python_script("read", folder, "> '" + (folder / "read.txt").string() + "' 2>/dev/null") == 0);
  python_script("stop", folder);
  CHECK(io::read_text(folder / "read.txt") ==
        "lamina first try FINISHED {'hf_hub_token': '<not shown>', 'learning_rate': '0.0001'}\n"
        "eval_loss [(2, 1.25)]\nloss [(1, 2.5), (2, 1.5)]\nrewards/chosen [(1, -0.5)]\n");
}

TEST_CASE("Trackers: wandb and swanlab write a run of their own, offline", "[train]") {
  if (testing::has_modules("wandb")) {
    const Variable mode("WANDB_MODE", "offline");
    TrackedRun run("wandb");
    run.track({"wandb"});
    CHECK(run.out.str().empty());
    bool found = false;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(run.folder / "wandb"))
      found = found || (entry.path().extension() == ".wandb" && entry.file_size() > 0);
    CHECK(found);
  }
  if (testing::has_modules("swanlab")) {
    TrackedRun run("swanlab");
    run.a.swanlab.mode = "offline", run.a.swanlab.logdir = run.folder / "log";
    run.track({"swanlab"});
    CHECK(run.out.str().empty());
    CHECK(std::filesystem::is_directory(run.folder / "log"));
  }
}
