#pragma once
#include <map>
#include <regex>

#include <lamina/checkpoint/adapter/config.hpp>
#include <lamina/checkpoint/adapter/peft_names.hpp>
#include <lamina/checkpoint/adapter/targets.hpp>
#include <lamina/checkpoint/convert.hpp>
#include <lamina/checkpoint/folders.hpp>
#include <lamina/checkpoint/safetensors.hpp>

/// LoRA adapters as PEFT stores them: adapter_config.json and adapter_model.safetensors.
namespace lamina::checkpoint {

/// What an adapter does to one linear layer: W + scale * B A; with a magnitude m (DoRA) each row of that is scaled to
/// the length m gives it.
struct LoraPair {
  std::string module;     ///< canonical name of the layer: "model.language_model.layers.0.self_attn.q_proj"
  std::string a, b;       ///< names of its tensors in the file: A is (rank, in_features), B (out_features, rank)
  std::string magnitude;  ///< DoRA's m (out_features), or ""
  int rank = 0;
  double scale = 0;  ///< alpha / rank, or alpha / sqrt(rank) with use_rslora
  std::int64_t in_features = 0, out_features = 0;
};

/// A tensor that the adapter replaces whole (modules_to_save, biases).
struct ReplacedTensor {
  std::string tensor;  ///< canonical name: "lm_head.weight"
  std::string source;  ///< its name in the adapter's file
};

/// An adapter folder, opened. Names may be spelt as PEFT writes them under any transformers, as vLLM has them, or bare.
class Adapter {
 public:
  /// Error if the config or a tensor does not make sense: an A without its B, ranks that differ from the config's,
  /// unknown tensors, variants that are not supported.
  static Adapter load(const std::filesystem::path& dir, const NameRules& names = {});

  const std::filesystem::path& path() const { return weights_.path(); }
  const AdapterConfig& config() const { return config_; }
  const Checkpoint& weights() const { return weights_; }
  /// In the order of their modules' names.
  const std::vector<LoraPair>& pairs() const { return pairs_; }
  const std::vector<ReplacedTensor>& replaced() const { return replaced_; }
  /// A tensor of the file (a LoraPair's a, b, magnitude; a ReplacedTensor's source) in fp32.
  std::vector<float> read(const std::string& tensor) const { return read_f32(weights_, tensor); }

 private:
  void sort_tensor(const TensorInfo& info, std::map<std::string, LoraPair>& by_module);
  void check_pair(LoraPair& pair) const;
  const TensorInfo& matrix(const std::string& name, const LoraPair& pair) const;
  template <class Value, class Otherwise>
  Otherwise from_pattern(const std::vector<std::pair<std::string, Value>>& patterns, const LoraPair& pair,
                         Otherwise otherwise) const;

  AdapterConfig config_;
  Checkpoint weights_;
  std::vector<LoraPair> pairs_;
  std::vector<ReplacedTensor> replaced_;
};

/// Writes an adapter folder as PEFT does: adapter_model.safetensors and adapter_config.json. tensors bear PEFT's names
/// (peft_names.hpp). Each file is replaced whole or not at all, the config last.
inline void write_adapter(const std::filesystem::path& dir, const std::string& config,
                          std::span<const TensorData> tensors) {
  std::filesystem::create_directories(dir);
  write_safetensors(dir / "adapter_model.safetensors", tensors);
  io::write_text(dir / "adapter_config.json", config);
}
inline void write_adapter(const std::filesystem::path& dir, const AdapterConfig& config,
                          std::span<const TensorData> tensors) {
  write_adapter(dir, adapter_config_text(config), tensors);
}

namespace detail {

/// Where the name of a module ends in an adapter's tensor name, and what follows: {"...q_proj", "lora_A.weight"}.
inline std::pair<std::string, std::string> split_lora_name(std::string_view name) {
  const auto at = name.rfind(".lora_");
  if (at == std::string_view::npos) return {std::string(name), ""};
  return {std::string(name.substr(0, at)), std::string(name.substr(at + 1))};
}

inline std::string without(std::string name, std::string_view part) {
  const auto at = name.find(part);
  return at == std::string::npos ? name : name.erase(at, part.size());
}

/// PEFT's wrappers taken off: peft_prefix before the name, the wrapper of a saved or adapted module inside.
inline std::string unwrapped(std::string name) {
  if (name.starts_with(peft_prefix)) name = name.substr(peft_prefix.size());
  name = without(std::move(name), ".modules_to_save.default");
  name = without(std::move(name), ".modules_to_save");
  return without(std::move(name), ".base_layer");
}

/// True for "lora_A.weight" and, with an adapter's name inside, "lora_A.default.weight".
inline bool is_lora(std::string_view rest, std::string_view which) {
  return rest.starts_with(which) && rest.size() > which.size() && rest[which.size()] == '.' && rest.ends_with("weight");
}

/// PEFT's rule: the pattern matches a module's whole name or its end after a dot.
inline bool pattern_matches(const std::string& pattern, const std::string& module, const std::string& file) {
  try {
    return std::regex_match(module, std::regex("(?:.*\\.)?(?:" + pattern + ")"));
  } catch (const std::regex_error&) {
    fail(file, ": \"", pattern, "\" in rank_pattern or alpha_pattern is not a regular expression that is understood: ",
         "correct it as PEFT wrote it, or take the key out");
  }
}

}  // namespace detail

inline void Adapter::sort_tensor(const TensorInfo& info, std::map<std::string, LoraPair>& by_module) {
  const std::string subject = path().string() + ": tensor " + info.name;
  if (info.name.size() > 512) fail(path().string(), ": a tensor's name has ", info.name.size(), " letters");
  const std::string name = detail::unwrapped(info.name);
  const auto [spelt, rest] = detail::split_lora_name(name);
  if (rest.empty()) {
    replaced_.push_back({canonical_name(name, weights_.names()), info.name});
    return;
  }
  LoraPair& pair = by_module[canonical_name(spelt, weights_.names())];
  std::string* place = nullptr;
  if (detail::is_lora(rest, "lora_A"))
    place = &pair.a;
  else if (detail::is_lora(rest, "lora_B"))
    place = &pair.b;
  else if (rest.starts_with("lora_magnitude_vector"))
    place = &pair.magnitude;
  else if (rest.starts_with("lora_embedding"))
    fail(subject, ": LoRA on an embedding is not supported");
  else
    fail(subject, ": ", rest, " is not a tensor that LoRA has");
  if (!place->empty()) fail(subject, ": means the same as ", *place);
  *place = info.name;
}

inline const TensorInfo& Adapter::matrix(const std::string& name, const LoraPair& pair) const {
  const TensorInfo& info = weights_.at(name);
  if (info.shape.size() != 2)
    fail(path().string(), ": ", name, " is ", shape_text(info.shape), ": only linear layers are supported, is ",
         pair.module, " one?");
  return info;
}

template <class Value, class Otherwise>
Otherwise Adapter::from_pattern(const std::vector<std::pair<std::string, Value>>& patterns, const LoraPair& pair,
                                Otherwise otherwise) const {
  // Patterns were written against the names of their day: the file's own spelling first, then the canonical one.
  const std::string spelt = detail::split_lora_name(detail::unwrapped(pair.a)).first;
  const std::string file = (path().parent_path() / "adapter_config.json").string();
  for (const auto& [pattern, value] : patterns)
    if (detail::pattern_matches(pattern, spelt, file) || detail::pattern_matches(pattern, pair.module, file))
      return value;
  return otherwise;
}

inline void Adapter::check_pair(LoraPair& pair) const {
  const std::string subject = path().string() + ": " + pair.module;
  if (pair.a.empty() || pair.b.empty())
    fail(subject, " has lora_", pair.a.empty() ? "B but no lora_A" : "A but no lora_B");
  const TensorInfo& a = matrix(pair.a, pair);
  const TensorInfo& b = matrix(pair.b, pair);
  if (a.shape[0] != b.shape[1])
    fail(subject, ": lora_A ", shape_text(a.shape), " and lora_B ", shape_text(b.shape), " do not share a rank");
  const int rank = from_pattern(config_.rank_pattern, pair, config_.r);
  if (a.shape[0] != rank)
    fail(subject, ": lora_A ", shape_text(a.shape), " has rank ", a.shape[0], ", adapter_config.json says ", rank);
  const double alpha = from_pattern(config_.alpha_pattern, pair, config_.lora_alpha);
  pair.rank = rank;
  pair.scale = alpha / (config_.use_rslora ? std::sqrt(static_cast<double>(rank)) : rank);
  pair.in_features = a.shape[1];
  pair.out_features = b.shape[0];
  if (pair.magnitude.empty() == config_.use_dora)
    fail(subject, config_.use_dora ? ": use_dora is true, but it has no lora_magnitude_vector"
                                   : ": has a lora_magnitude_vector, but use_dora is false");
  if (config_.use_dora && element_count(weights_.at(pair.magnitude).shape) != pair.out_features)
    fail(subject, ": lora_magnitude_vector is ", shape_text(weights_.at(pair.magnitude).shape), ", wanted (",
         pair.out_features, ")");
}

inline Adapter Adapter::load(const std::filesystem::path& dir, const NameRules& names) {
  Adapter out;
  out.config_ = AdapterConfig::load(dir);
  const std::filesystem::path file = dir / "adapter_model.safetensors";
  if (!std::filesystem::exists(file) && std::filesystem::exists(dir / "adapter_model.bin"))
    fail(dir.string(), ": holds adapter_model.bin only: pickled weights are not read, save it as safetensors");
  if (!std::filesystem::exists(file))
    fail(file.string(), ": no such file next to adapter_config.json: is the download complete?");
  refuse_weights_beside_adapter(dir);
  out.weights_ = Checkpoint::open(file, names);
  std::map<std::string, LoraPair> by_module;
  for (const TensorInfo& info : out.weights_.tensors()) out.sort_tensor(info, by_module);
  for (auto& [module, pair] : by_module) {
    pair.module = module;
    out.check_pair(pair);
    require_targeted(out.config_, detail::split_lora_name(detail::unwrapped(pair.a)).first, dir.string(), names);
    out.pairs_.push_back(std::move(pair));
  }
  std::vector<std::string> replaced;
  for (const ReplacedTensor& t : out.replaced_) replaced.push_back(t.tensor);
  require_saved(out.config_, replaced, dir.string(), names);
  if (out.pairs_.empty() && out.replaced_.empty()) fail(file.string(), ": holds no tensors");
  return out;
}

}  // namespace lamina::checkpoint
