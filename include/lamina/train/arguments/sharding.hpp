#pragma once
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <lamina/io/json/file.hpp>
#include <lamina/io/visible.hpp>
#include <lamina/train/arguments/readers.hpp>

/// deepspeed and fsdp: what their settings mean if each process holds the whole model, and a share of optimizer and
/// gradients.
namespace lamina::train::detail {

/// What of a run is divided among processes: as the two name it.
enum class Sharding { none, optimizer, gradients, weights };

inline void use_sharding(Arguments& a, const std::string& subject, Sharding asked) {
  if (asked == Sharding::none) return;
  a.shards_optimizer = true;
  a.shards_gradients = asked != Sharding::optimizer;
  if (a.finetuning_type == "lora")
    a.notes.push_back(cat(subject, " has no effect: the optimizer of adapters is small, each process holds all of it"));
  else if (asked == Sharding::weights)
    a.notes.push_back(
        cat(subject, ": processes share out the optimizer's state and the gradients; weights stay whole on each"));
}

inline void note_offload(Arguments& a, const std::string& subject) {
  a.notes.push_back(
      cat(subject, " has no effect: everything stays on the GPU that uses it; --dry-run prints the plan"));
}

/// A setting of DeepSpeed that is one of the run, too: "auto", or the same.
inline void require_same(const Setting& s, std::string_view name, std::string_view ours, double wanted) {
  if (io::shown(s.value) == "auto" || io::number_of(s, name) == wanted) return;
  fail(s.origin, ": deepspeed: ", name, " is ", io::shown(s.value), ", but ", ours, " makes it ", wanted,
       ": write \"auto\"");
}

/// The mapping, or that of the JSON file at a path. LLaMA-Factory's own files are known by their names too.
inline nlohmann::ordered_json deepspeed_settings(Arguments& a, const Setting& s, std::string_view key) {
  if (s.value.is_object()) return s.value;
  const std::filesystem::path path = io::text_of(s, key);
  if (std::filesystem::exists(path)) return io::read_json_object<nlohmann::ordered_json>(path);
  constexpr std::string_view shipped = "ds_z";
  const std::string name = path.filename().string();
  if (!name.starts_with(shipped) || name.size() == shipped.size() || !std::isdigit(name[shipped.size()]))
    throw io::FileError(cat(s.origin, ": deepspeed: there is no file ", path.string(),
                            ": a relative path begins where the program runs"));
  a.notes.push_back(
      cat("deepspeed: there is no file ", path.string(), ": it is read as LLaMA-Factory's file of that name"));
  nlohmann::ordered_json zero = {{"stage", name[shipped.size()] - '0'}};
  if (name.find("offload") != std::string::npos) zero["offload_optimizer"] = {{"device", "cpu"}};
  return {{"zero_optimization", zero}};
}

inline void read_zero(Arguments& a, const Setting& s, std::vector<std::string>& idle) {
  const auto zero = io::object_of(s, "zero_optimization");
  const auto stage = zero.contains("stage") ? io::integer_of({zero["stage"], s.origin}, "zero_optimization.stage") : 0;
  if (stage < 0 || stage > 3) fail(s.origin, ": deepspeed: zero_optimization.stage is ", stage, ", wanted 0 to 3");
  use_sharding(a, cat("deepspeed: stage ", stage), static_cast<Sharding>(stage));
  for (const auto& [name, value] : zero.items()) {
    const bool offload = name == "offload_optimizer" || name == "offload_param";
    if (offload && value.is_object() && value.contains("device") && value["device"] != "none")
      note_offload(a, cat("deepspeed: ", name));
    else if (name != "stage" && !offload)
      idle.push_back(name);
  }
}

/// Sections that would change the training, and what to do instead.
inline constexpr std::pair<std::string_view, std::string_view> refused_sections[] = {
    {"optimizer", "learning_rate, adam_beta1, adam_beta2, adam_epsilon and weight_decay decide"},
    {"scheduler", "lr_scheduler_type, warmup_steps and lr_scheduler_kwargs decide"},
    {"tensor_parallel", "a layer is not divided among processes"},
    {"pipeline", "layers are not divided among processes"},
    {"sparse_attention", "attention is that of the model"},
    {"compression_training", "quantised and pruned training are not built"},
    {"curriculum_learning", "rows come in the order of LLaMA-Factory"},
    {"data_efficiency", "rows come in the order of LLaMA-Factory"}};

/// Comes after the run's own settings, which DeepSpeed's must not contradict.
inline void read_deepspeed(Arguments& a, const Setting& s, std::string_view key) {
  const std::tuple<std::string_view, std::string_view, double> shared[] = {
      {"train_micro_batch_size_per_gpu", "per_device_train_batch_size", a.per_device_train_batch_size},
      {"gradient_accumulation_steps", "gradient_accumulation_steps", a.gradient_accumulation_steps},
      {"gradient_clipping", "max_grad_norm", a.max_grad_norm}};
  std::vector<std::string> idle;
  const auto config = deepspeed_settings(a, s, key);
  for (const auto& [name, value] : config.items()) {
    const auto is_name = [&name = name](const auto& row) { return std::get<0>(row) == name; };
    const auto* same = std::find_if(std::begin(shared), std::end(shared), is_name);
    const auto* refused = std::find_if(std::begin(refused_sections), std::end(refused_sections), is_name);
    if (refused != std::end(refused_sections))
      fail(s.origin, ": deepspeed: ", name, " is refused: ", refused->second, "; leave the section out");
    if (same != std::end(shared))
      require_same({value, s.origin}, name, std::get<1>(*same), std::get<2>(*same));
    else if (name == "zero_optimization")
      read_zero(a, {value, s.origin}, idle);
    else if (name != "train_batch_size" || io::shown(value) != "auto")
      idle.push_back(name);
  }
  if (!idle.empty())
    a.notes.push_back(cat("deepspeed: ", io::foreign_names(idle), " have no effect: there is no DeepSpeed here"));
}

/// "full_shard auto_wrap", a list of such words, or true (full_shard).
inline void read_fsdp(Arguments& a, const Setting& s, std::string_view key) {
  std::string text;
  for (const std::string& item : io::list_of(s, key)) text += item + " ";
  std::istringstream words(text);
  for (std::string word; words >> word;)
    if (word == "full_shard" || word == "hybrid_shard" || io::word_as_flag(word) == true)
      use_sharding(a, "fsdp: " + word, Sharding::weights);
    else if (word == "shard_grad_op" || word == "hybrid_shard_zero2")
      use_sharding(a, "fsdp: " + word, Sharding::gradients);
    else if (word == "offload")
      note_offload(a, "fsdp: offload");
    else if (word != "auto_wrap" && word != "no_shard" && io::word_as_flag(word) != false)
      io::wrong_value(s, key,
                      "full_shard, shard_grad_op, hybrid_shard, hybrid_shard_zero2, no_shard, offload, auto_wrap");
}

}  // namespace lamina::train::detail
