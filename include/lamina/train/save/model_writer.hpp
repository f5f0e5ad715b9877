#pragma once
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/checkpoint/adapter.hpp>
#include <lamina/checkpoint/convert.hpp>
#include <lamina/io/program/version.hpp>
#include <lamina/model/family.hpp>
#include <lamina/train/arguments.hpp>
#include <lamina/train/program/new_tokens.hpp>
#include <lamina/train/save/continued_adapter.hpp>
#include <lamina/train/save/model_card.hpp>

namespace lamina::train {

namespace detail {

/// Files of a model directory that go along with weights, if the base has them.
inline constexpr const char* companion_files[] = {"tokenizer.json",
                                                  "tokenizer_config.json",
                                                  "special_tokens_map.json",
                                                  "added_tokens.json",
                                                  "vocab.json",
                                                  "merges.txt",
                                                  "chat_template.jinja",
                                                  "chat_template.json",
                                                  "preprocessor_config.json",
                                                  "video_preprocessor_config.json",
                                                  "processor_config.json"};

inline void copy_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  if (!std::filesystem::exists(from)) return;
  if (std::filesystem::equivalent(from, to, error)) return;
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing, error);
  if (error) fail(to.string(), ": cannot be copied from ", from.string(), ": ", error.message());
}

/// Removes what an earlier run of another kind left in output_dir: next to adapter_config.json transformers and PEFT
/// do not see a whole model, and weights next to an adapter may be taken for a part of it.
inline void remove_other_kind(const std::filesystem::path& directory, bool saved_adapter) {
  std::vector<std::filesystem::path> stale;
  if (!saved_adapter) {
    for (const char* name : {"adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"})
      stale.push_back(directory / name);
  } else {
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      if (checkpoint::detail::is_weight_file(entry.path().filename().string())) stale.push_back(entry.path());
    if (!stale.empty())
      for (const char* name : {"config.json", "generation_config.json"}) stale.push_back(directory / name);
  }
  for (const auto& path : stale) std::filesystem::remove(path);
}

/// "...q_proj" of "base_model.model.<module>.lora_A.weight".
inline std::string lora_module(std::string_view tensor) {
  if (tensor.starts_with(checkpoint::peft_prefix)) tensor.remove_prefix(checkpoint::peft_prefix.size());
  const std::size_t end = tensor.rfind(".lora_");
  return end == std::string_view::npos ? std::string() : std::string(tensor.substr(0, end));
}

inline bool ends_at_dot(std::string_view name, std::string_view suffix) {
  return name == suffix ||
         (name.size() > suffix.size() && name.ends_with(suffix) && name[name.size() - suffix.size() - 1] == '.');
}

/// For each adapted module its shortest ending that names no other module of the base: what PEFT needs to find the
/// adapted layers again, and nothing else. Qwen3-VL with the defaults gives the seven names of its linears.
inline std::vector<std::string> target_modules(const std::set<std::string>& adapted,
                                               const std::set<std::string>& others) {
  std::set<std::string> endings;
  for (const std::string& module : adapted) {
    std::size_t at = module.size();
    std::string ending;
    do {
      at = at == 0 ? std::string::npos : module.rfind('.', at - 1);
      ending = at == std::string::npos ? module : module.substr(at + 1);
    } while (at != std::string::npos && std::any_of(others.begin(), others.end(), [&](const std::string& other) {
               return ends_at_dot(other, ending);
             }));
    endings.insert(ending);
  }
  return {endings.begin(), endings.end()};
}

}  // namespace detail

/// Writes what a run trained: a PEFT adapter, or for full and freeze the whole model, each with the tokenizer's and the
/// processor's files and a model card.
class ModelWriter {
 public:
  /// family: the base model's.
  ModelWriter(const Arguments& arguments, TrainSession& session, const Family& family)
      : a_(arguments), session_(session), family_(family), names_(family.names) {}

  void save(const std::filesystem::path& directory, const OrderedJson& log_history) const {
    if (a_.finetuning_type == "lora")
      save_adapter(directory, !a_.pissa_init ? "" : a_.pissa_iter == -1 ? "pissa" : cat("pissa_niter_", a_.pissa_iter));
    else
      save_whole(directory);
    detail::remove_other_kind(directory, a_.finetuning_type == "lora");
    for (const char* name : detail::companion_files) detail::copy_file(a_.model_name_or_path / name, directory / name);
    if (const text::MoreTokens more = new_tokens(a_); !more.empty())
      text::write_with_more_tokens(a_.model_name_or_path, directory, more);
    io::write_text(directory / "README.md", model_card(a_, family_, log_history, std::string(lamina::version)));
    OrderedJson given = OrderedJson::object();
    for (const auto& [key, setting] : a_.given) given[key] = setting.value;
    io::write_text(directory / "training_args.json", given.dump(2, ' ', true) + "\n");
  }

  /// The adapter's first values, before training: what write_converted() needs.
  void save_first_adapter(const std::filesystem::path& directory) const { save_adapter(directory, ""); }

 private:
  /// init: how the adapter started, if not with PEFT's default.
  void save_adapter(const std::filesystem::path& directory, const std::string& init) const {
    const auto trainable = session_.trainable();
    std::set<std::string> adapted, others;
    std::vector<checkpoint::TensorData> tensors;
    for (const TrainableTensor& t : trainable) {
      const auto values = std::as_bytes(std::span<const float>(t.value));
      tensors.push_back({t.name, DType::F32, t.shape, values});
      if (!t.copied_as.empty()) tensors.push_back({t.copied_as, DType::F32, t.shape, values});
      if (const std::string module = detail::lora_module(t.name); !module.empty()) adapted.insert(module);
    }
    const auto base = checkpoint::Checkpoint::open(a_.model_name_or_path, names_);
    for (const checkpoint::TensorInfo& info : base.tensors()) {
      const std::string name = checkpoint::canonical_name(info.name, names_);
      if (name.ends_with(".weight") && !adapted.contains(name.substr(0, name.size() - 7)))
        others.insert(name.substr(0, name.size() - 7));
    }
    checkpoint::AdapterConfig config = continued_adapter(a_).value_or(fresh_adapter());
    if (config.base_model_name_or_path.empty()) config.base_model_name_or_path = named_model(a_);
    if (!continued_adapter(a_)) name_whole_modules(trainable, config);
    config.target_regex.clear();
    config.target_modules = detail::target_modules(adapted, others);
    config.init_lora_weights = init;
    checkpoint::write_adapter(directory, config, tensors);
  }

  /// A head that is tied to the embedding is saved as that, and as a copy.
  void name_whole_modules(const std::vector<TrainableTensor>& trainable, checkpoint::AdapterConfig& config) const {
    config.ensure_weight_tying =
        std::any_of(trainable.begin(), trainable.end(), [](const auto& t) { return !t.copied_as.empty(); });
    const std::string table(family_.regions.embedding.substr(family_.regions.embedding.rfind('.') + 1));
    for (const std::string& name : a_.additional_target) {
      const std::string module = name == family_.regions.head && config.ensure_weight_tying ? table : name;
      auto& saved = config.modules_to_save;
      if (std::find(saved.begin(), saved.end(), module) == saved.end()) saved.push_back(module);
    }
  }

  checkpoint::AdapterConfig fresh_adapter() const {
    checkpoint::AdapterConfig config;
    config.r = a_.lora_rank;
    config.lora_alpha = a_.lora_alpha.value_or(2.0 * a_.lora_rank);
    config.lora_dropout = a_.lora_dropout;
    config.use_rslora = a_.use_rslora;
    config.use_dora = a_.use_dora;
    return config;
  }

  /// The base's tensors under the base's names and in its dtypes, with the trained ones in place of its own.
  void save_whole(const std::filesystem::path& directory) const {
    constexpr std::uint64_t shard_bytes = 5'000'000'000;
    const auto base = checkpoint::Checkpoint::open(a_.model_name_or_path, names_);
    const auto trainable = session_.trainable();
    std::map<std::string, const TrainableTensor*> trained;
    for (const TrainableTensor& t : trainable) {
      if (!base.find(t.name)) fail(base.path().string(), ": has no tensor ", t.name, ", which was trained");
      trained[base.at(t.name).name] = &t;
    }
    std::vector<std::byte> buffer;
    checkpoint::write_sharded(directory, base.tensors(), shard_bytes,
                              [&](const checkpoint::TensorInfo& info) -> std::span<const std::byte> {
                                const auto at = trained.find(info.name);
                                if (const auto parts = base.parts_of(info); !parts.empty())
                                  return stacked(base, info, parts, trained, buffer);
                                if (at == trained.end()) return base.data(info.name);
                                buffer.resize(info.bytes);
                                checkpoint::narrow(at->second->value, info.dtype, buffer);
                                return buffer;
                              });
    for (const char* name : {"config.json", "generation_config.json"})
      detail::copy_file(a_.model_name_or_path / name, directory / name);
  }

  /// A tensor that holds many matrices, with the trained ones in place of the base's.
  static std::span<const std::byte> stacked(const checkpoint::Checkpoint& base, const checkpoint::TensorInfo& info,
                                            const std::vector<const checkpoint::StackedPart*>& parts,
                                            const std::map<std::string, const TrainableTensor*>& trained,
                                            std::vector<std::byte>& buffer) {
    const std::span<const std::byte> old = base.data(info.name);
    buffer.assign(old.begin(), old.end());
    std::vector<std::byte> matrix;
    for (const checkpoint::StackedPart* part : parts)
      if (const auto at = trained.find(part->info.name); at != trained.end()) {
        matrix.resize(part->info.bytes);
        checkpoint::narrow(at->second->value, info.dtype, matrix);
        part->write(matrix, buffer);
      }
    return buffer;
  }

  const Arguments& a_;
  TrainSession& session_;
  const Family& family_;
  const checkpoint::NameRules& names_;  ///< how the base model's files may spell names
};

}  // namespace lamina::train
