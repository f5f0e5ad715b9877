#pragma once
#include <algorithm>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lamina/io/file.hpp>
#include <lamina/train/arguments.hpp>
#include <lamina/train/report/progress.hpp>
#include <lamina/train/report/trackers/mlflow.hpp>
#include <lamina/train/report/trackers/python_tracker.hpp>
#include <lamina/train/report/trackers/tensorboard.hpp>

namespace lamina::train {

/// Where a run's values go besides trainer_log.jsonl and the console: report_to. One that fails is given up with a
/// warning and never ends the run.
class Trackers {
 public:
  /// The console outlives this.
  Trackers(const Arguments& a, Console& console) : console_(console) {
    if (reports_to(a, "tensorboard") || reports_to(a, "all")) start("tensorboard", [&] { return tensorboard(a); });
    if (reports_to(a, "mlflow")) start("mlflow", [&] { return mlflow(a); });
    if (reports_to(a, "wandb")) start("wandb", [&] { return wandb(a); });
    if (reports_to(a, "swanlab") || a.use_swanlab) start("swanlab", [&] { return swanlab(a); });
  }

  ~Trackers() { finish(false); }
  Trackers(const Trackers&) = delete;
  Trackers& operator=(const Trackers&) = delete;

  /// An entry of log_history.
  void log(const OrderedJson& entry) {
    each([&](Tracker& tracker) { tracker.log(entry); });
  }
  /// The run has ended: as planned, or stopped before.
  void finish(bool completed) {
    each([&](Tracker& tracker) { tracker.finish(completed); });
    trackers_.clear();
  }

 private:
  static bool reports_to(const Arguments& a, const char* name) {
    return std::find(a.report_to.begin(), a.report_to.end(), name) != a.report_to.end();
  }
  /// What the user set, without secrets.
  static OrderedJson settings_of(const Arguments& a) {
    OrderedJson settings = OrderedJson::object();
    for (const auto& [key, setting] : a.given)
      settings[key] = key.ends_with("_token") || key.ends_with("_key") ? OrderedJson("<not shown>") : setting.value;
    return settings;
  }

  std::unique_ptr<Tracker> tensorboard(const Arguments& a) {
    auto events = std::make_unique<TensorBoard>(TensorBoard::folder_of(a.logging_dir, a.output_dir));
    console_.line(cat("TensorBoard: values go to ", events->path().string()));
    events->text("args", settings_of(a).dump(2));
    events->text("model_config", io::read_text(a.model_name_or_path / "config.json"));
    return events;
  }
  std::unique_ptr<Tracker> mlflow(const Arguments& a) {
    auto run = std::make_unique<Mlflow>(MlflowPlace::of_environment(a.run_name), settings_of(a),
                                        std::make_shared<hub::CurlTransport>());
    console_.line(cat("MLflow: values go to ", run->url()));
    return run;
  }
  std::unique_ptr<Tracker> wandb(const Arguments& a) {
    const char* project = std::getenv("WANDB_PROJECT");
    return std::make_unique<PythonTracker>("wandb", OrderedJson{{"project", project ? project : a.project},
                                                                {"name", name_or_null(a.run_name)},
                                                                {"folder", a.output_dir.string()},
                                                                {"settings", settings_of(a)}});
  }
  std::unique_ptr<Tracker> swanlab(const Arguments& a) {
    return std::make_unique<PythonTracker>(
        "swanlab", OrderedJson{{"project", a.swanlab.project},
                               {"workspace", name_or_null(a.swanlab.workspace)},
                               {"name", name_or_null(a.swanlab.run_name.empty() ? a.run_name : a.swanlab.run_name)},
                               {"mode", a.swanlab.mode},
                               {"api_key", a.swanlab.api_key},
                               {"folder", name_or_null(a.swanlab.logdir.string())},
                               {"settings", settings_of(a)}});
  }
  static OrderedJson name_or_null(const std::string& name) { return name.empty() ? OrderedJson() : OrderedJson(name); }

  void start(const char* name, const std::function<std::unique_ptr<Tracker>()>& make) {
    try {
      trackers_.push_back(make());
    } catch (const std::exception& e) {
      give_up(name, e);
    }
  }
  template <class F>
  void each(F f) {
    std::erase_if(trackers_, [&](const auto& tracker) {
      try {
        f(*tracker);
        return false;
      } catch (const std::exception& e) {
        give_up(tracker->name(), e);
        return true;
      }
    });
  }
  void give_up(std::string_view name, const std::exception& e) {
    console_.line(cat("warning: report_to: ", name, ": ", e.what(), ": nothing more goes there; the run goes on"));
  }

  Console& console_;
  std::vector<std::unique_ptr<Tracker>> trackers_;
};

}  // namespace lamina::train
