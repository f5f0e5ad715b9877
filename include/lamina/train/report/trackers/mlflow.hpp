#pragma once
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <lamina/hub/http/curl.hpp>
#include <lamina/io/json.hpp>
#include <lamina/train/report/trackers/tracker.hpp>

namespace lamina::train {

/// Where a run goes on an MLflow server, by the environment variables of MLflow's own clients.
struct MlflowPlace {
  std::string uri = {};                  ///< MLFLOW_TRACKING_URI, without a slash at its end
  std::string experiment = {};           ///< MLFLOW_EXPERIMENT_NAME; "": the server's default one, "Default"
  std::string user = {}, password = {};  ///< MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD
  std::string token = {};                ///< MLFLOW_TRACKING_TOKEN
  std::string run_name = {};             ///< "": the server makes one up

  /// Error if the address is none of a server.
  static MlflowPlace of_environment(const std::string& run_name) {
    const auto variable = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value ? value : "");
    };
    MlflowPlace place{.uri = variable("MLFLOW_TRACKING_URI"),
                      .experiment = variable("MLFLOW_EXPERIMENT_NAME"),
                      .user = variable("MLFLOW_TRACKING_USERNAME"),
                      .password = variable("MLFLOW_TRACKING_PASSWORD"),
                      .token = variable("MLFLOW_TRACKING_TOKEN"),
                      .run_name = run_name};
    if (!place.uri.starts_with("http://") && !place.uri.starts_with("https://"))
      fail("MLFLOW_TRACKING_URI is \"", place.uri, "\", wanted the address of a server, such as http://127.0.0.1:5000 ",
           "(`mlflow server` starts one)");
    while (place.uri.ends_with('/')) place.uri.pop_back();
    return place;
  }
};

/// A run on an MLflow server, through its REST API: settings as parameters, entries of log_history as metrics.
/// source  mlflow.org, REST API 2.0; transformers 5.6, integration_utils.py, MLflowCallback
class Mlflow final : public Tracker {
 public:
  /// Error if the server does not take the run.
  Mlflow(MlflowPlace place, const OrderedJson& settings, std::shared_ptr<hub::Transport> transport)
      : place_(std::move(place)), transport_(std::move(transport)) {
    OrderedJson run = {{"experiment_id", experiment_id()}, {"start_time", now_ms()}};
    if (!place_.run_name.empty()) run["run_name"] = place_.run_name;
    run_id_ = call("runs/create", run).at("run").at("info").at("run_id").get<std::string>();
    log_settings(settings);
  }
  std::string_view name() const override { return "mlflow"; }
  /// The page that shows the run.
  std::string url() const { return cat(place_.uri, "/#/experiments/", experiment_id_, "/runs/", run_id_); }

  void log(const OrderedJson& entry) override {
    OrderedJson metrics = OrderedJson::array();
    for (const auto& [key, value] : entry.items())
      if (key != "step" && value.is_number() && std::isfinite(value.get<double>()))
        metrics.push_back(
            {{"key", key}, {"value", value}, {"timestamp", now_ms()}, {"step", entry.at("step").get<std::int64_t>()}});
    call("runs/log-batch", {{"run_id", run_id_}, {"metrics", metrics}});
  }
  void finish(bool completed) override {
    call("runs/update", {{"run_id", run_id_}, {"status", completed ? "FINISHED" : "KILLED"}, {"end_time", now_ms()}});
  }

 private:
  static constexpr std::size_t most_params = 100, most_param_bytes = 250;  ///< of a call, of a value
  static constexpr std::chrono::seconds longest{10};

  static std::int64_t now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  std::string experiment_id() {
    if (place_.experiment.empty()) return experiment_id_ = "0";
    const OrderedJson found =
        call("experiments/search",
             {{"max_results", 1}, {"filter", cat("name = '", quoted(place_.experiment), "'")}, {"view_type", "ALL"}});
    if (found.contains("experiments") && !found["experiments"].empty())
      return experiment_id_ = found["experiments"][0].at("experiment_id").get<std::string>();
    return experiment_id_ =
               call("experiments/create", {{"name", place_.experiment}}).at("experiment_id").get<std::string>();
  }
  static std::string quoted(const std::string& text) {
    std::string out;
    for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
    return out;
  }
  void log_settings(const OrderedJson& settings) {
    OrderedJson params = OrderedJson::array();
    for (const auto& [key, value] : settings.items()) {
      const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      if (text.size() <= most_param_bytes) params.push_back({{"key", key}, {"value", text}});
      if (params.size() == most_params)
        call("runs/log-batch", {{"run_id", run_id_}, {"params", std::exchange(params, OrderedJson::array())}});
    }
    if (!params.empty()) call("runs/log-batch", {{"run_id", run_id_}, {"params", params}});
  }
  /// Error, with what the server says, unless it says yes.
  OrderedJson call(const std::string& what, const OrderedJson& with) {
    const std::string body = with.dump();
    hub::GetRequest request{.url = cat(place_.uri, "/api/2.0/mlflow/", what),
                            .headers = {"Content-Type: application/json"},
                            .longest = longest,
                            .post = &body};
    if (!place_.token.empty()) request.headers.push_back("Authorization: Bearer " + place_.token);
    if (!place_.user.empty()) request.password = place_.user + ":" + place_.password;
    std::string answer;
    const hub::HttpHead head =
        transport_->get(request, {.head = {}, .body = [&](std::span<const std::byte> bytes) {
                                    answer.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                                    if (answer.size() > (std::size_t{1} << 20))
                                      fail(request.url, ": an answer of more than 1 MiB");
                                  }});
    if (!head.is_success()) fail(request.url, ": status ", head.status);
    return answer.empty() ? OrderedJson::object() : io::parse_json<OrderedJson>(answer);
  }

  MlflowPlace place_;
  std::shared_ptr<hub::Transport> transport_;
  std::string experiment_id_, run_id_;
};

}  // namespace lamina::train
