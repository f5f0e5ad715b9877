#pragma once
#include <string>
#include <vector>

#include <lamina/checkpoint/adapter.hpp>
#include <lamina/checkpoint/adapter/principal.hpp>
#include <lamina/core/threads.hpp>
#include <lamina/model/model_source.hpp>
#include <lamina/train/step/trainable.hpp>

/// PiSSA: a fresh adapter starts with the principal part of each weight, which the base model then lacks.
namespace lamina::train {

/// Gives `source` such an adapter to train and takes its product from the base weights.
/// source  PEFT 0.18.1, tuners/lora/layer.py, pissa_init
inline void start_from_principal_parts(ModelSource& source, const TrainableOptions& options, int iterations) {
  const Regions& regions = source.config.family->regions;
  std::vector<std::string> linears;
  const std::vector<TensorSpec> tensors = tensors_of(source.config, source.weights.path());
  for (const TensorSpec& spec : tensors) {
    const std::string name(spec.path.view());
    if (spec.takes_row_terms && name.ends_with(".weight")) linears.push_back(name.substr(0, name.size() - 7));
  }
  const auto chosen =
      lora_modules(linears, checkpoint::modules_of(source.weights), regions, options, mixture_modules(tensors));
  const std::vector<std::string> modules(chosen.begin(), chosen.end());
  const double root = options.use_rslora ? std::sqrt(options.lora_rank) : options.lora_rank;
  std::vector<checkpoint::AdapterLayer> layers(modules.size());
  parallel_for(std::ssize(modules), [&](std::int64_t i) {
    const std::string name = modules[static_cast<std::size_t>(i)] + ".weight";
    const std::vector<float> values = checkpoint::read_f32(source.weights, name);
    const auto& shape = source.weights.at(name).shape;
    layers[static_cast<std::size_t>(i)] = checkpoint::principal_layer(
        {values.data(), shape[0], shape[1]}, {.rank = options.lora_rank,
                                              .scale = static_cast<float>(options.lora_alpha / root),
                                              .iterations = iterations,
                                              .seed = options.seed + static_cast<std::uint64_t>(i)});
  });
  checkpoint::AdapterLayers& taken = source.folded.emplace_back();
  for (std::size_t i = 0; i < modules.size(); ++i) {
    source.trained[modules[i]] = layers[i];
    layers[i].scale = -layers[i].scale;
    taken[modules[i]] = std::move(layers[i]);
  }
  source.trained_dropout = options.lora_dropout;
}

/// Writes what a PiSSA adapter changed as one that fits the base model: of twice the rank, W + s (B A - B0 A0).
/// source  PEFT 0.18.1, LoraModel.subtract_mutated_init
inline void write_converted(const std::filesystem::path& to, const std::filesystem::path& first,
                            const std::filesystem::path& trained_folder) {
  const checkpoint::Checkpoint before = checkpoint::Checkpoint::open(first / "adapter_model.safetensors"),
                               after = checkpoint::Checkpoint::open(trained_folder / "adapter_model.safetensors");
  checkpoint::AdapterConfig config = checkpoint::AdapterConfig::load(first);
  config.lora_alpha *= config.use_rslora ? std::sqrt(2.0) : 2.0;
  config.r *= 2;
  std::vector<std::vector<float>> values;
  std::vector<checkpoint::TensorData> tensors;
  values.reserve(after.tensors().size());
  for (const checkpoint::TensorInfo& info : after.tensors()) {
    const std::vector<float> own = checkpoint::read_f32(after, info.name),
                             start = checkpoint::read_f32(before, info.name);
    std::vector<float>& joined = values.emplace_back();
    if (info.name.find(".lora_") == std::string::npos) {  // a tensor that was trained whole
      joined = own;
      tensors.push_back({info.name, DType::F32, info.shape, std::as_bytes(std::span<const float>(joined))});
      continue;
    }
    std::vector<std::int64_t> shape = info.shape;
    const bool is_a = info.name.ends_with(".lora_A.weight");
    const auto row =
        static_cast<std::size_t>(is_a ? std::ssize(own) : shape[1]);  // A: rows below, B: columns to its right
    for (std::size_t at = 0; at < own.size(); at += row) {
      joined.insert(joined.end(), own.begin() + static_cast<std::ptrdiff_t>(at),
                    own.begin() + static_cast<std::ptrdiff_t>(at + row));
      for (std::size_t i = at; i < at + row; ++i) joined.push_back(is_a ? start[i] : -start[i]);
    }
    shape[is_a ? 0 : 1] *= 2;
    tensors.push_back({info.name, DType::F32, shape, std::as_bytes(std::span<const float>(joined))});
  }
  checkpoint::write_adapter(to, config, tensors);
}

}  // namespace lamina::train
