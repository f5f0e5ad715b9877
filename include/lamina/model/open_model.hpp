#pragma once
#include <lamina/checkpoint/adapter/layers.hpp>
#include <lamina/checkpoint/quantized/find.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/model/config/read.hpp>
#include <lamina/model/model_source.hpp>

/// Reads what model_source.hpp describes from a model directory, and opens it.
namespace lamina {

inline ModelSource open_source(const std::filesystem::path& model_dir,
                               const std::vector<std::filesystem::path>& folded) {
  ModelSource source{.config = ModelConfig::load(model_dir), .weights = {}, .folded = {}, .trained = {}};
  const checkpoint::NameRules& names = source.config.family->names;
  source.weights = checkpoint::Checkpoint::open(model_dir, names);
  if (const std::string& method = source.config.quant_method; method == "bitsandbytes" || method == "fp8")
    source.quantized = checkpoint::find_quantized(source.weights, source.config.weight_block_size);
  else if (!method.empty())
    fail(model_dir.string(), ": config.json has quantization_config (", method,
         "), which is not read: use the model's ",
         "bf16 or FP8 release, or one that bitsandbytes has quantised; quantization_bit and --quantization quantise a ",
         "bf16 release as it is loaded");
  for (const auto& dir : folded) source.folded.push_back(checkpoint::read_adapter(dir, names));
  return source;
}

/// What training does not do with a base whose files are quantised.
inline void check_quantized_base(const std::filesystem::path& model_dir, const ModelSource& source,
                                 const TrainableOptions& options) {
  if (source.quantized.empty()) return;
  const std::string subject = cat(model_dir.string(), ": is quantised (", source.config.quant_method, ")");
  if (options.method != TrainableOptions::Method::lora)
    fail(subject, ", and quantised weights cannot learn: set finetuning_type: lora, or take the model's bf16 release");
  if (options.use_dora) fail(subject, ", and use_dora measures the rows of whole weights: set it to false");
  if (options.first_values) fail(subject, ", so pissa_init cannot change it: take the model's bf16 release");
  if (options.quantization) note(cat(subject, ": quantization_bit has no effect"));
}

/// Reads config.json and weights of a model directory and opens the composition that fits.
inline std::unique_ptr<TrainSession> open_for_training(const std::filesystem::path& model_dir,
                                                       const TrainableOptions& options) {
  std::vector<std::filesystem::path> folded = options.adapters;
  if (options.goes_on()) folded.pop_back();
  ModelSource source = open_source(model_dir, folded);
  if (options.goes_on()) {
    source.trained = checkpoint::read_adapter(options.adapters.back(), source.config.family->names);
    source.trained_dropout = checkpoint::AdapterConfig::load(options.adapters.back()).lora_dropout;
    checkpoint::AdapterLayers& begun = source.folded.emplace_back();  // tensors that are trained whole begin with its
    begun.replaced = source.trained.replaced, begun.file = source.trained.file;
  }
  check_quantized_base(model_dir, source, options);
  if (options.first_values && source.trained.empty()) options.first_values(source, options);
  return make_train_session(source, options);
}
/// How many tokens an image has for the model of a directory, which needs no weights yet.
inline VisualTokens visual_tokens_of(const std::filesystem::path& model_dir) {
  return visual_tokens_of(ModelConfig::load(model_dir), model_dir);
}
/// The tensors that a model directory's config.json asks for; the directory needs no weights yet.
inline std::vector<TensorSpec> tensors_of(const std::filesystem::path& model_dir) {
  return tensors_of(ModelConfig::load(model_dir), model_dir);
}

}  // namespace lamina
