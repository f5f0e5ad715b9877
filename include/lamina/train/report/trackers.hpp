#pragma once
#include <algorithm>
#include <exception>
#include <optional>
#include <string>

#include <lamina/io/file.hpp>
#include <lamina/train/arguments.hpp>
#include <lamina/train/report/progress.hpp>
#include <lamina/train/report/tensorboard.hpp>

namespace lamina::train {

/// Where a run's values go besides trainer_log.jsonl and the console: report_to. One that fails is given up with a
/// warning and never ends the run.
class Trackers {
 public:
  /// The console outlives this.
  Trackers(const Arguments& a, Console& console) : console_(console) {
    const auto asked = [&](const char* name) {
      return std::find(a.report_to.begin(), a.report_to.end(), name) != a.report_to.end();
    };
    if (!asked("tensorboard") && !asked("all")) return;
    attempt([&] {
      tensorboard_.emplace(TensorBoard::folder_of(a.logging_dir, a.output_dir));
      console_.line(cat("TensorBoard: values go to ", tensorboard_->path().string()));
      tensorboard_->text("args", settings_of(a).dump(2));
      tensorboard_->text("model_config", io::read_text(a.model_name_or_path / "config.json"));
    });
  }

  /// An entry of log_history.
  void log(const OrderedJson& entry) {
    if (tensorboard_) attempt([&] { tensorboard_->log(entry); });
  }

 private:
  /// What the user set, without secrets.
  static OrderedJson settings_of(const Arguments& a) {
    OrderedJson settings = OrderedJson::object();
    for (const auto& [key, setting] : a.given)
      settings[key] = key.ends_with("_token") || key.ends_with("_key") ? OrderedJson("<not shown>") : setting.value;
    return settings;
  }
  template <class F>
  void attempt(F f) {
    try {
      f();
    } catch (const std::exception& e) {
      tensorboard_.reset();
      console_.line(cat("warning: report_to: tensorboard: ", e.what(), ": nothing more goes there; the run goes on"));
    }
  }

  Console& console_;
  std::optional<TensorBoard> tensorboard_;
};

}  // namespace lamina::train
