#pragma once
#include <chrono>
#include <functional>

#include <lamina/checkpoint/companions.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/merge/companions.hpp>
#include <lamina/merge/plan.hpp>
#include <lamina/model/config/read.hpp>
#include <lamina/text/tokenizer/more_tokens.hpp>

/// Folding adapters into a model's weights, one tensor at a time: memory is the largest tensor's, whatever the model's.
namespace lamina::merge {

/// A base model and the adapters that are merged into it, in this order.
struct Sources {
  std::filesystem::path model;
  std::vector<std::filesystem::path> adapters;
};

/// The settings of a merge; names are LLaMA-Factory's.
struct MergeOptions {
  std::filesystem::path model_name_or_path;
  std::vector<std::filesystem::path> adapter_name_or_path;  ///< merged in this order
  std::filesystem::path export_dir;
  double export_size = 5;            ///< maximum bytes of a weight file, in 10^9
  std::optional<DType> infer_dtype;  ///< of the output; else config.json's, and bf16 instead of fp32
  std::string template_name;         ///< of the Modelfile; empty: the model family's
  std::optional<Sources> named;      ///< as the model card names them; unset: the two paths above
};

/// After each tensor. A callback that throws stops the merge, and nothing is left behind.
struct MergeProgress {
  std::size_t tensors_done = 0, tensors = 0;
  std::uint64_t bytes_done = 0, bytes = 0;
};
using OnProgress = std::function<void(const MergeProgress&)>;

/// What a merge did.
struct MergeReport {
  std::vector<std::string> files;  ///< in export_dir
  std::size_t tensors = 0;
  std::int64_t merged_modules = 0, replaced_tensors = 0;
  std::uint64_t bytes = 0;
  DType dtype = DType::BF16;
  double seconds = 0;
};

namespace detail {

/// A folder inside the export folder where everything is made, so that nothing half written is ever seen: commit()
/// moves the files out, config.json last, because without it no program takes the folder for a model.
class UnfinishedExport {
 public:
  explicit UnfinishedExport(const std::filesystem::path& out) : out_(out), dir_(out / ".incomplete") {
    std::error_code error;
    is_new_ = !std::filesystem::exists(out, error);
    if (!is_new_ && !std::filesystem::is_directory(out)) fail(out.string(), ": export_dir is a file, wanted a folder");
    std::filesystem::create_directories(out, error);
    std::filesystem::remove_all(dir_, error);
    std::filesystem::create_directory(dir_, error);
    if (error) fail(out.string(), ": cannot write to export_dir: ", error.message());
  }
  UnfinishedExport(const UnfinishedExport&) = delete;
  ~UnfinishedExport() {
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
    if (is_new_) std::filesystem::remove(out_, ignored);  // only if empty: nothing was committed
  }
  const std::filesystem::path& dir() const { return dir_; }

  /// Replaces an earlier export: its weight files that are no part of this one go.
  void commit() {
    std::filesystem::remove(out_ / "config.json");
    for (const auto& entry : std::filesystem::directory_iterator(out_))
      if (checkpoint::detail::is_weight_file(entry.path().filename().string())) std::filesystem::remove(entry.path());
    std::vector<std::filesystem::path> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir_))
      if (entry.path().filename() != "config.json") names.push_back(entry.path().filename());
    for (const auto& name : names) std::filesystem::rename(dir_ / name, out_ / name);
    io::sync_folder(out_);
    std::filesystem::rename(dir_ / "config.json", out_ / "config.json");
    io::sync_folder(out_);
  }

 private:
  std::filesystem::path out_, dir_;
  bool is_new_ = false;
};

/// infer_dtype, else the config's; a config of fp32, or of none, means bf16 unless every weight is fp16.
inline DType output_dtype(const MergeOptions& options, const ModelConfig& config, const checkpoint::Checkpoint& base) {
  if (options.infer_dtype) return *options.infer_dtype;
  if (config.dtype == DType::F16 || config.dtype == DType::BF16) return config.dtype;
  for (const checkpoint::TensorInfo& t : base.tensors())
    if (t.dtype != DType::F16) return DType::BF16;
  return DType::F16;
}

inline void check_paths(const MergeOptions& options) {
  if (options.export_dir.empty()) fail("export_dir is missing: name the folder to write the merged model to");
  if (!(options.export_size > 0)) fail("export_size is ", options.export_size, ", wanted a positive number of GB");
  std::vector<std::filesystem::path> inputs = options.adapter_name_or_path;
  checkpoint::require_model_folder(options.model_name_or_path);
  for (const auto& adapter : inputs) checkpoint::require_adapter_folder(adapter);
  inputs.push_back(options.model_name_or_path);
  for (const auto& input : inputs) {
    std::error_code ignored;
    if (std::filesystem::equivalent(input, options.export_dir, ignored))
      io::usage(options.export_dir.string(), ": export_dir is one of the inputs, choose another folder");
  }
  for (const char* name : {"adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"})
    if (std::filesystem::exists(options.export_dir / name))
      fail((options.export_dir / name).string(), ": export_dir holds an adapter, and transformers would take the ",
           "merged model for that adapter: choose another folder");
}

/// What a merge will have done, as far as its plan tells.
inline MergeReport report_of(const MergePlan& plan, DType dtype) {
  MergeReport report;
  report.dtype = dtype;
  report.merged_modules = plan.merged_modules;
  report.replaced_tensors = plan.replaced_tensors;
  report.tensors = plan.tensors.size();
  for (const checkpoint::TensorInfo& t : plan.tensors) report.bytes += t.bytes;
  return report;
}

inline void check_space(std::uint64_t bytes, const std::filesystem::path& out) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(out, error);
  if (!error && space.available < bytes)
    fail(out.string(), ": the merged model needs ", bytes / 1'000'000, " MB, ", space.available / 1'000'000,
         " MB are free");
}

inline std::string template_for(const MergeOptions& options, const ModelConfig& config) {
  const Family& family = *config.family;
  if (options.template_name.empty() && family.templates.empty())
    fail("template: ", family.title, " has no template of its own for the Modelfile: name one, known are ",
         templates_text());
  if (options.template_name.empty()) return std::string(family.templates.front().name);
  modelfile_text(options.template_name);  // an unknown one is an error before the work, not after it
  return options.template_name;
}

}  // namespace detail

/// Merges adapters into a base and writes a whole model directory: weights under exactly the base's tensor names, in
/// files of at most export_size * 10^9 bytes, config.json, tokenizer, processor and generation settings, Modelfile,
/// README.md. Each weight is round(W + sum of s B A), computed in fp32 and rounded once. Everything that can be
/// checked is checked before the first byte is written; on an Error, export_dir is as it was.
inline MergeReport run(const MergeOptions& options, const OnProgress& on_progress = {}) {
  const auto start = std::chrono::steady_clock::now();
  detail::check_paths(options);
  const auto config = ModelConfig::load(options.model_name_or_path);
  if (!config.quant_method.empty())
    fail(options.model_name_or_path.string(), ": is quantised (", config.quant_method,
         "): an adapter cannot be merged into it, use the bf16 release of the model");
  checkpoint::require_whole_companions(options.model_name_or_path);
  const std::string template_name = detail::template_for(options, config);
  const checkpoint::NameRules& names = config.family->names;
  const auto base = checkpoint::Checkpoint::open(options.model_name_or_path, names);
  std::vector<checkpoint::Adapter> adapters;
  for (const auto& path : options.adapter_name_or_path) adapters.push_back(checkpoint::Adapter::load(path, names));

  const DType dtype = detail::output_dtype(options, config, base);
  const Regions& regions = config.family->regions;
  const bool tied = config.tie_word_embeddings && !base.find(cat(regions.head, ".weight"));
  const MergePlan plan =
      make_plan(base, adapters, dtype, tied ? TiedTable{regions.head, regions.embedding} : TiedTable{});
  MergeReport report = detail::report_of(plan, dtype);

  detail::UnfinishedExport staging(options.export_dir);
  detail::check_space(report.bytes, options.export_dir);
  MergeProgress progress{0, report.tensors, 0, report.bytes};
  std::vector<std::byte> buffer;
  const auto produce = [&](const checkpoint::TensorInfo& info) -> std::span<const std::byte> {
    if (on_progress) on_progress(progress);
    buffer.resize(info.bytes);
    make_tensor(plan.outputs.at(info.name), info, buffer);
    ++progress.tensors_done;
    progress.bytes_done += info.bytes;
    return buffer;
  };
  report.files = checkpoint::write_sharded(staging.dir(), plan.tensors,
                                           static_cast<std::uint64_t>(options.export_size * 1e9), produce);
  if (on_progress) on_progress(progress);
  for (std::string& name :
       write_companions(options.model_name_or_path, staging.dir(), report.dtype, template_name,
                        text::tokenizer_folder(options.model_name_or_path, options.adapter_name_or_path)))
    report.files.push_back(std::move(name));
  const Sources named = options.named.value_or(Sources{options.model_name_or_path, options.adapter_name_or_path});
  io::write_text(staging.dir() / "README.md", model_card(named.model, named.adapters, options.export_dir, report.dtype,
                                                         template_name, hub_task(*config.family)));
  report.files.push_back("README.md");
  staging.commit();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace lamina::merge
