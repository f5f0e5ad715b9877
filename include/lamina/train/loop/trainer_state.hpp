#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <lamina/io/json/fields.hpp>
#include <lamina/io/json/file.hpp>
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

namespace detail {
inline std::int64_t read_patience_counter(const io::JsonFields& fields) {
  io::JsonFields at = fields;
  for (const char* key : {"stateful_callbacks", "EarlyStoppingCallback", "attributes"}) {
    if (!at.has(key)) return 0;
    at = at.object(key);
  }
  return at.whole_number<std::int64_t>("early_stopping_patience_counter", 0);
}

/// Entries as trainers write them: objects with a step and an epoch; these and the losses are numbers.
inline OrderedJson checked_log(const nlohmann::json& log, const io::JsonFields& fields) {
  for (std::size_t i = 0; i < log.size(); ++i) {
    const io::JsonFields entry(log[i], fields.file(), cat("log_history[", i, "]"));
    entry.number("step"), entry.number("epoch");
    for (const auto& [key, value] : log[i].items())
      if (key.ends_with("loss") || key.starts_with("eval_")) entry.number(key);
  }
  return OrderedJson(log);
}
}  // namespace detail

/// Reads the file of a checkpoint, ours or transformers'. Error if it is not one.
inline TrainerState read_trainer_state(const std::filesystem::path& path) {
  const auto json = io::read_json_object<nlohmann::json>(path, io::large_json_bytes);
  const io::JsonFields fields(json, path.string());
  TrainerState s;
  s.global_step = fields.whole_number<std::int64_t>("global_step");
  s.max_steps = fields.whole_number("max_steps", s.max_steps);
  s.num_train_epochs = fields.whole_number("num_train_epochs", s.num_train_epochs);
  s.train_batch_size = fields.whole_number("train_batch_size", s.train_batch_size);
  s.num_input_tokens_seen = fields.whole_number("num_input_tokens_seen", s.num_input_tokens_seen);
  s.epoch = fields.number("epoch", s.epoch);
  s.total_flos = fields.number("total_flos", s.total_flos);
  s.best_metric = fields.maybe_number("best_metric");
  if (fields.has("best_global_step")) s.best_global_step = fields.whole_number<std::int64_t>("best_global_step");
  s.best_model_checkpoint = fields.maybe_text("best_model_checkpoint");
  if (const auto* log = fields.maybe_list("log_history")) s.log_history = detail::checked_log(*log, fields);
  s.evaluations_without_gain = detail::read_patience_counter(fields);
  return s;
}

}  // namespace lamina::train
