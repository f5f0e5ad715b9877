#pragma once
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <lamina/checkpoint/convert.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/io/json/fields.hpp>
#include <lamina/io/json/file.hpp>
#include <lamina/model/train_session.hpp>
#include <lamina/train/loop/schedule.hpp>
#include <lamina/train/loop/trainer_state.hpp>
#include <lamina/train/report/metric_sums.hpp>

namespace lamina::train {

/// What a run needs besides weights, moments and trainer_state.json to go on bit for bit: rng.json. All randomness is
/// a function of the seeds and of these positions, so no generator's state has to be kept.
struct RunPosition {
  std::uint64_t seed = 42, data_seed = 42;
  std::int64_t epoch = 0, window = 0;  ///< the next accumulation window
  std::int64_t micro_batch_rows = 1, accumulation = 1, ranks = 1;
  std::int64_t optimizer_steps = 0;
  double loss_sum = 0;        ///< of all steps so far, for train_loss
  double loss_since_log = 0;  ///< of the steps since the last log event
  std::int64_t steps_since_log = 0;
  MetricSums metrics_since_log;
};

namespace detail {

/// A checkpoint's file of which every tensor has to find its place in this run.
class CheckpointTensors {
 public:
  explicit CheckpointTensors(const std::filesystem::path& path) : file_(checkpoint::Checkpoint::open(path)) {}

  bool holds(const std::string& name) const { return file_.find(name) != nullptr; }

  /// Fills out with a tensor, converted to fp32; Error if names or shapes differ.
  void load(const std::string& name, const std::vector<std::int64_t>& shape, std::span<float> out) {
    const checkpoint::TensorInfo& info = taken(name, shape);
    checkpoint::widen(info.dtype, file_.data(name), out);
  }
  /// The same of what an optimizer remembers, as it is.
  void load(const std::string& name, const TensorState& state) {
    const checkpoint::TensorInfo* const info = file_.find(name);
    if (!info || info->dtype != state.dtype)
      fail(file_.path().string(), ": ", name, info ? cat(" has elements of ", name_of(info->dtype)) : " is missing",
           ": resume with the optim that the checkpoint was made with");
    taken(name, state.shape);
    std::memcpy(state.bytes.data(), file_.data(name).data(), state.bytes.size());
  }

  /// Error if a tensor was not loaded: this run would save without it, and its training would be lost.
  void require_all_loaded() const {
    const std::string* first = nullptr;
    std::size_t left = 0;
    for (const checkpoint::TensorInfo& info : file_.tensors())
      if (!loaded_.contains(info.name) && left++ == 0) first = &info.name;
    if (first)
      fail(file_.path().string(), ": ", left, " of ", file_.tensors().size(),
           " tensors have no place in this run, the first is ", *first,
           ": this run trains fewer layers than the checkpoint, or by another optimizer; resume with the optim, "
           "lora_target, "
           "finetuning_type and freeze_* settings that the checkpoint was made with");
  }

 private:
  const checkpoint::TensorInfo& taken(const std::string& name, const std::vector<std::int64_t>& shape) {
    const checkpoint::TensorInfo& info = file_.at(name);
    if (info.shape != shape)
      fail(file_.path().string(), ": ", name, " is ", checkpoint::shape_text(info.shape), ", this run trains ",
           checkpoint::shape_text(shape), ": resume with the settings that the checkpoint was made with");
    loaded_.insert(info.name);
    return info;
  }

  checkpoint::Checkpoint file_;
  std::set<std::string> loaded_;
};

}  // namespace detail

/// optimizer.safetensors: what the optimizer remembers as "exp_avg.<name>" and so on, and, if the model file rounds
/// them (full and freeze), the fp32 weights as "value.<name>".
inline void write_optimizer(const std::filesystem::path& directory, TrainSession& session, bool with_values) {
  const auto trainable = session.trainable();
  std::vector<checkpoint::TensorData> tensors;
  for (const TrainableTensor& t : trainable) {
    for (const TensorState& s : t.state) tensors.push_back({cat(s.name, ".", t.name), s.dtype, s.shape, s.bytes});
    if (with_values) tensors.push_back({"value." + t.name, DType::F32, t.shape, std::as_bytes(t.value)});
  }
  checkpoint::write_safetensors(directory / "optimizer.safetensors", tensors);
}

/// Restores the optimizer, and the fp32 weights if the file has them.
inline void read_optimizer(const std::filesystem::path& directory, TrainSession& session) {
  detail::CheckpointTensors file(directory / "optimizer.safetensors");
  for (const TrainableTensor& t : session.trainable()) {
    for (const TensorState& s : t.state) file.load(cat(s.name, ".", t.name), s);
    if (file.holds("value." + t.name)) file.load("value." + t.name, t.shape, t.value);
  }
  file.require_all_loaded();
  session.restored();
}

/// Restores the trainable weights from the model's or adapter's own file in a checkpoint. An adapter's file holds
/// nothing but trained weights; a model's file also holds those that are frozen.
inline void read_weights(const std::filesystem::path& directory, TrainSession& session) {
  const bool adapter = std::filesystem::exists(directory / "adapter_model.safetensors");
  detail::CheckpointTensors file(adapter ? directory / "adapter_model.safetensors" : directory);
  for (const TrainableTensor& t : session.trainable()) {
    if (!t.copied_as.empty()) file.load(t.copied_as, t.shape, t.value);
    file.load(t.name, t.shape, t.value);
  }
  if (adapter) file.require_all_loaded();
  session.restored();
}

/// scheduler.json: the learning rate at that step. It is recomputed from the step on resume; the file is for readers.
inline void write_scheduler(const std::filesystem::path& directory, const ScheduleOptions& options,
                            const Schedule& schedule, double base, double rate, std::int64_t step,
                            std::int64_t total_steps) {
  const nlohmann::json file = {{"type", schedule_names()[static_cast<std::size_t>(options.type)]},
                               {"base_lr", base},
                               {"last_epoch", step},
                               {"last_lr", rate},
                               {"num_warmup_steps", schedule.warmup()},
                               {"num_training_steps", total_steps}};
  io::write_text(directory / "scheduler.json", file.dump(2) + "\n");
}

inline void write_position(const std::filesystem::path& directory, const RunPosition& p) {
  const nlohmann::json file = {{"seed", p.seed},
                               {"data_seed", p.data_seed},
                               {"epoch", p.epoch},
                               {"window", p.window},
                               {"micro_batch_rows", p.micro_batch_rows},
                               {"accumulation", p.accumulation},
                               {"ranks", p.ranks},
                               {"optimizer_steps", p.optimizer_steps},
                               {"loss_sum", p.loss_sum},
                               {"loss_since_log", p.loss_since_log},
                               {"steps_since_log", p.steps_since_log},
                               {"metrics_since_log", p.metrics_since_log.to_json()}};
  io::write_text(directory / "rng.json", file.dump(2) + "\n");
}

/// Nothing if the checkpoint has none: it was saved with save_only_model, or by another program.
inline std::optional<RunPosition> read_position(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "rng.json";
  if (!std::filesystem::exists(path)) return std::nullopt;
  const auto json = io::read_json_object<nlohmann::json>(path);
  const io::JsonFields fields(json, path.string());
  RunPosition p;
  const auto read = [&](const char* key, auto& out) {
    out = fields.whole_number<std::remove_reference_t<decltype(out)>>(key);
  };
  read("seed", p.seed);
  read("data_seed", p.data_seed);
  read("epoch", p.epoch);
  read("window", p.window);
  read("micro_batch_rows", p.micro_batch_rows);
  read("accumulation", p.accumulation);
  p.ranks = fields.whole_number("ranks", p.ranks);
  read("optimizer_steps", p.optimizer_steps);
  read("steps_since_log", p.steps_since_log);
  p.loss_sum = fields.number("loss_sum");
  p.loss_since_log = fields.number("loss_since_log");
  if (fields.has("metrics_since_log")) p.metrics_since_log.read(json.at("metrics_since_log"), path.string());
  return p;
}

}  // namespace lamina::train
