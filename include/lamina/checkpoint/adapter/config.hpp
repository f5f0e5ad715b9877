#pragma once
#include <map>

#include <lamina/checkpoint/adapter/fields.hpp>
#include <lamina/checkpoint/folders.hpp>
#include <lamina/checkpoint/safetensors/header.hpp>
#include <lamina/io/keys/range.hpp>

/// adapter_config.json as PEFT 0.18 reads and writes it.
namespace lamina::checkpoint {

/// What lora_alpha may be: 0 would switch an adapter off, and fp32 overflows far above.
inline constexpr io::Range alpha_range{.least = 0, .most = 1e9, .above = true};
inline constexpr int most_rank = 1 << 16;

/// The settings of a LoRA adapter that decide what it computes; names are PEFT's own.
struct AdapterConfig {
  std::string base_model_name_or_path, task_type = "CAUSAL_LM";
  int r = 8;
  double lora_alpha = 8, lora_dropout = 0;
  bool use_rslora = false, use_dora = false;
  std::string init_lora_weights;             ///< how a fresh one started, if not with PEFT's default; for writing
  std::string bias = "none";                 ///< or "all", "lora_only": biases saved whole next to the pairs
  std::vector<std::string> target_modules;   ///< names or their ends; empty if target_regex is set
  std::string target_regex;                  ///< target_modules as one regular expression
  std::vector<std::string> exclude_modules;  ///< modules that target_modules does not reach, written like it
  std::string exclude_regex;
  std::vector<int> layers_to_transform;     ///< the only layers that are adapted, by number; empty: all
  std::vector<std::string> layers_pattern;  ///< what the list of those layers is called; empty: anything
  std::vector<std::string> modules_to_save;
  bool ensure_weight_tying = false;  ///< a table in modules_to_save stays the head as well, if the model ties them
  std::vector<std::pair<std::string, int>> rank_pattern;      ///< regular expression on a module's name -> its rank
  std::vector<std::pair<std::string, double>> alpha_pattern;  ///< the same for alpha; the first that matches wins

  /// Error, naming the field, if it is mistyped, and on every variant of LoRA whose mathematics differ.
  inline static AdapterConfig load(const std::filesystem::path& dir);
};

/// The PEFT release whose files we write.
inline constexpr std::string_view peft_format_version = "0.18.1";

namespace detail {

/// Objects keep the file's order: the first pattern that matches wins.
inline std::vector<std::pair<std::string, double>> pattern_fields(const nlohmann::ordered_json& json, const char* key,
                                                                  const std::string& file, io::Range range,
                                                                  bool whole) {
  std::vector<std::pair<std::string, double>> out;
  if (!json.contains(key) || json[key].is_null()) return out;
  if (!json[key].is_object()) fail(file, ": ", key, " is not an object");
  for (const auto& [pattern, value] : json[key].items()) {
    const std::string field = cat(key, ".", io::foreign_name(pattern));
    if (!value.is_number()) fail(file, ": ", field, " is ", io::foreign_name(value.dump()), ", wanted a number");
    const double number = value.template get<double>();
    if (!range.holds(number)) fail(file, ": ", field, " is ", number, ", wanted ", range.text());
    if (whole && number != std::floor(number)) fail(file, ": ", field, " is ", number, ", wanted a whole number");
    out.emplace_back(pattern, number);
  }
  return out;
}

/// Variants of LoRA whose mathematics are not computed.
inline void refuse_variants(const io::JsonFields& fields) {
  const std::string type = fields.text("peft_type");
  if (type != "LORA") fail(fields.file(), ": peft_type is \"", type, "\", only LORA is supported");
  io::check_fields(fields, adapter_fields);
  const nlohmann::json& json = fields.json();
  const auto init = json.find("init_lora_weights");
  if (init == json.end() || !init->is_string()) return;
  const auto name = init->get<std::string>();
  for (const char* base_changing : {"pissa", "olora", "corda", "loftq"})
    if (name.starts_with(base_changing))
      fail(fields.file(), ": init_lora_weights is \"", name,
           "\": such an adapter fits a changed base model; take the one in pissa_converted next to it, or convert it "
           "to a plain one (pissa_convert)");
}

/// A field that is a list of names or one string.
inline void read_names(const io::JsonFields& fields, const char* key, std::vector<std::string>& list,
                       std::string& one) {
  if (!fields.has(key)) return;
  if (fields.json()[key].is_string())
    one = fields.text(key);
  else
    list = fields.texts(key);
}

inline void read_targets(const io::JsonFields& fields, AdapterConfig& out) {
  read_names(fields, "target_modules", out.target_modules, out.target_regex);
  read_names(fields, "exclude_modules", out.exclude_modules, out.exclude_regex);
  std::string pattern;
  read_names(fields, "layers_pattern", out.layers_pattern, pattern);
  if (!pattern.empty()) out.layers_pattern = {pattern};
  out.layers_to_transform = fields.integer_or_list("layers_to_transform");
}

inline void check_ranges(const AdapterConfig& c, const std::string& file) {
  if (c.r <= 0 || c.r > most_rank) fail(file, ": r is ", c.r, ", wanted a rank from 1 to ", most_rank);
  if (!alpha_range.holds(c.lora_alpha)) fail(file, ": lora_alpha is ", c.lora_alpha, ", wanted ", alpha_range.text());
  if (c.lora_dropout < 0 || c.lora_dropout >= 1)
    fail(file, ": lora_dropout is ", c.lora_dropout, ", wanted 0 up to below 1");
  if (c.bias != "none" && c.bias != "all" && c.bias != "lora_only")
    fail(file, ": bias is \"", c.bias, "\", wanted none, all or lora_only");
}

}  // namespace detail

inline AdapterConfig AdapterConfig::load(const std::filesystem::path& dir) {
  const std::filesystem::path path = dir / "adapter_config.json";
  const std::string file = path.string();
  require_adapter_folder(dir);
  const auto ordered = io::read_json_object<nlohmann::ordered_json>(path);
  const nlohmann::json json = ordered;
  const io::JsonFields fields(json, file);
  detail::refuse_variants(fields);

  AdapterConfig out;
  out.base_model_name_or_path = fields.text("base_model_name_or_path", "");
  out.task_type = fields.text("task_type", "");
  out.r = fields.integer("r");
  out.lora_alpha = fields.number("lora_alpha");
  out.lora_dropout = fields.number("lora_dropout", 0);
  out.use_rslora = fields.boolean("use_rslora", false);
  out.use_dora = fields.boolean("use_dora", false);
  out.bias = fields.text("bias", "none");
  detail::read_targets(fields, out);
  out.ensure_weight_tying = fields.boolean("ensure_weight_tying", false);
  if (fields.has("modules_to_save")) out.modules_to_save = fields.texts("modules_to_save");
  for (const auto& [pattern, rank] :
       detail::pattern_fields(ordered, "rank_pattern", file, io::between(1, most_rank), true))
    out.rank_pattern.emplace_back(pattern, static_cast<int>(rank));
  out.alpha_pattern = detail::pattern_fields(ordered, "alpha_pattern", file, alpha_range, false);
  detail::check_ranges(out, file);
  return out;
}

namespace detail {

/// Python writes an int without a point: alpha 16 is 16, alpha 16.5 is 16.5.
inline nlohmann::json python_number(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<std::int64_t>(value);
  return value;
}

/// null if the list is empty.
inline nlohmann::json list_or_null(const std::vector<std::string>& list) {
  return list.empty() ? nlohmann::json() : nlohmann::json(list);
}

}  // namespace detail

/// adapter_config.json as PEFT 0.18.1 saves it for inference: keys sorted, indent 2, no newline at the end.
inline std::string adapter_config_text(const AdapterConfig& c) {
  using detail::list_or_null, detail::python_number, nlohmann::json;
  json out;
  for (const char* key : {"alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config",
                          "exclude_modules", "layer_replication", "layers_pattern", "layers_to_transform",
                          "megatron_config", "revision", "target_parameters", "trainable_token_indices"})
    out[key] = nullptr;
  for (const char* key : {"fan_in_fan_out", "lora_bias", "use_qalora"}) out[key] = false;
  out["ensure_weight_tying"] = c.ensure_weight_tying;
  out["alpha_pattern"] = out["rank_pattern"] = out["loftq_config"] = json::object();
  for (const auto& [pattern, alpha] : c.alpha_pattern) out["alpha_pattern"][pattern] = python_number(alpha);
  for (const auto& [pattern, rank] : c.rank_pattern) out["rank_pattern"][pattern] = rank;
  out["base_model_name_or_path"] = c.base_model_name_or_path;
  out["bias"] = c.bias;
  out["inference_mode"] = out["init_lora_weights"] = true;
  if (!c.init_lora_weights.empty()) out["init_lora_weights"] = c.init_lora_weights;
  out["lora_alpha"] = python_number(c.lora_alpha);
  out["lora_dropout"] = c.lora_dropout;
  out["megatron_core"] = "megatron.core";
  out["modules_to_save"] = list_or_null(c.modules_to_save);
  out["peft_type"] = "LORA";
  out["peft_version"] = peft_format_version;
  out["qalora_group_size"] = 16;
  out["r"] = c.r;
  out["target_modules"] = c.target_regex.empty() ? json(c.target_modules) : json(c.target_regex);
  out["task_type"] = c.task_type.empty() ? json() : json(c.task_type);
  out["use_dora"] = c.use_dora;
  out["use_rslora"] = c.use_rslora;
  return out.dump(2, ' ', true);
}

}  // namespace lamina::checkpoint
