#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <lamina/io/json.hpp>
#include <lamina/train/report/log.hpp>

namespace lamina::train {

/// trainer_state.json, as transformers' TrainerState has it.
struct TrainerState {
  std::int64_t global_step = 0, max_steps = 0, num_train_epochs = 0;
  std::int64_t logging_steps = 500, eval_steps = 500, save_steps = 500, train_batch_size = 0;
  std::int64_t num_input_tokens_seen = 0;
  double epoch = 0, total_flos = 0;
  std::optional<double> best_metric;
  std::optional<std::int64_t> best_global_step;
  std::optional<std::string> best_model_checkpoint;
  std::optional<std::int64_t> early_stopping_steps;  ///< patience; written if early stopping is on
  std::int64_t evaluations_without_gain = 0;
  bool should_save = false, should_training_stop = false;  ///< as in TrainerControl when the file was written
  OrderedJson log_history = OrderedJson::array();
};

namespace detail {

template <class T>
nlohmann::json nullable(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

template <class T>
void read_nullable(const nlohmann::json& object, const char* key, std::optional<T>& out) {
  if (const auto at = object.find(key); at != object.end() && !at->is_null()) out = at->get<T>();
}

inline nlohmann::json callbacks_of(const TrainerState& s) {
  nlohmann::json callbacks = {{"TrainerControl",
                               {{"args",
                                 {{"should_epoch_stop", false},
                                  {"should_evaluate", false},
                                  {"should_log", false},
                                  {"should_save", s.should_save},
                                  {"should_training_stop", s.should_training_stop}}},
                                {"attributes", nlohmann::json::object()}}}};
  if (s.early_stopping_steps)
    callbacks["EarlyStoppingCallback"] = {
        {"args", {{"early_stopping_patience", *s.early_stopping_steps}, {"early_stopping_threshold", 0.0}}},
        {"attributes", {{"early_stopping_patience_counter", s.evaluations_without_gain}}}};
  return callbacks;
}

}  // namespace detail

/// The file's text: sorted keys, indent 2, a newline at the end.
inline std::string to_text(const TrainerState& s) {
  const nlohmann::json file = {{"best_global_step", detail::nullable(s.best_global_step)},
                               {"best_metric", detail::nullable(s.best_metric)},
                               {"best_model_checkpoint", detail::nullable(s.best_model_checkpoint)},
                               {"epoch", s.epoch},
                               {"eval_steps", s.eval_steps},
                               {"global_step", s.global_step},
                               {"is_hyper_param_search", false},
                               {"is_local_process_zero", true},
                               {"is_world_process_zero", true},
                               {"log_history", s.log_history},
                               {"logging_steps", s.logging_steps},
                               {"max_steps", s.max_steps},
                               {"num_input_tokens_seen", s.num_input_tokens_seen},
                               {"num_train_epochs", s.num_train_epochs},
                               {"save_steps", s.save_steps},
                               {"stateful_callbacks", detail::callbacks_of(s)},
                               {"total_flos", s.total_flos},
                               {"train_batch_size", s.train_batch_size},
                               {"trial_name", nullptr},
                               {"trial_params", nullptr}};
  return file.dump(2, ' ', true) + "\n";
}

/// Reads the file of a checkpoint, ours or transformers'. Error if it is not one.
inline TrainerState read_trainer_state(const std::filesystem::path& path) {
  std::ifstream in(path);
  if (!in) fail(path.string(), ": cannot be read");
  try {
    const auto file = io::parse_json<nlohmann::json>(in);
    TrainerState s;
    s.global_step = file.at("global_step").get<std::int64_t>();
    s.max_steps = file.value("max_steps", s.max_steps);
    s.num_train_epochs = file.value("num_train_epochs", s.num_train_epochs);
    s.train_batch_size = file.value("train_batch_size", s.train_batch_size);
    s.num_input_tokens_seen = file.value("num_input_tokens_seen", s.num_input_tokens_seen);
    s.epoch = file.value("epoch", s.epoch);
    s.total_flos = file.value("total_flos", s.total_flos);
    detail::read_nullable(file, "best_metric", s.best_metric);
    detail::read_nullable(file, "best_global_step", s.best_global_step);
    detail::read_nullable(file, "best_model_checkpoint", s.best_model_checkpoint);
    s.log_history = OrderedJson(file.value("log_history", nlohmann::json::array()));
    const nlohmann::json::json_pointer counter(
        "/stateful_callbacks/EarlyStoppingCallback/attributes/early_stopping_patience_counter");
    if (file.contains(counter)) s.evaluations_without_gain = file.at(counter).get<std::int64_t>();
    return s;
  } catch (const nlohmann::json::exception& e) {
    fail(path.string(), ": is not a trainer state: ", e.what());
  }
}

}  // namespace lamina::train
