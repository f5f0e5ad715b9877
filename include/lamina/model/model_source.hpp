#pragma once
#include <filesystem>
#include <memory>
#include <vector>

#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/model/config/model_config.hpp>
#include <lamina/model/train_session.hpp>

namespace lamina {

/// A model directory and its adapters as a model type reads them. model/open_model.hpp fills it.
struct ModelSource {
  ModelConfig config;
  checkpoint::Checkpoint weights;
  checkpoint::QuantizedSources quantized = {};    ///< what of the weights is quantised in its files
  std::vector<checkpoint::AdapterLayers> folded;  ///< adapters that become part of the weights, in order
  checkpoint::AdapterLayers trained;              ///< the adapter that goes on training; empty: a fresh one
  double trained_dropout = 0;                     ///< its lora_dropout

  /// The element type in which a tensor's values are kept if nothing else is asked for: its file's, F32, or of a
  /// quantised one BF16.
  DType dtype_of_values(const std::string& tensor) const {
    if (quantized.contains(tensor)) return DType::BF16;
    const DType stored = weights.at(tensor).dtype;
    return stored == DType::BF16 || stored == DType::F16 ? stored : DType::F32;
  }
};

/// How a frozen tensor of a model is stored. The matrix of a linear layer: as its file has it if that is quantised;
/// else, if it is the decoder's, as wanted. Embedding, norms, output head, projector and vision tower stay whole.
/// Error for experts on a GPU, whose products read whole matrices there.
inline Quantization frozen_storage(const TensorSpec& tensor, const ModelSource& source, const Quantization& wanted,
                                   bool on_gpu) {
  if (!tensor.takes_row_terms || tensor.added) return {};
  const std::string name(tensor.path.view());
  const auto it = source.quantized.find(name);
  const bool in_file = it != source.quantized.end();
  const Regions& regions = source.config.family->regions;
  const auto under = [&](std::string_view part) { return checkpoint::detail::under(name, part); };
  const Quantization stored = in_file                                              ? it->second.format
                              : !under(regions.tower) && !under(regions.projector) ? wanted
                                                                                   : Quantization{};
  if (stored && tensor.mixture && on_gpu)
    fail(name, ": experts that are quantised (", name_of(stored), ") have no GPU kernels: ",
         in_file ? "take the model's bf16 release, or device: cpu"
                 : "leave quantization_bit (--quantization) out, or take device: cpu");
  return stored;
}

/// Defined in cmake/models/registry.cpp, which knows the compiled models: opens the composition that fits a source.
/// Error if none does.
std::unique_ptr<TrainSession> make_train_session(const ModelSource&, const TrainableOptions&);
/// The tensors that a config.json asks for; model_dir is its folder.
std::vector<TensorSpec> tensors_of(const ModelConfig&, const std::filesystem::path& model_dir);
/// How many tokens an image has for the composition that a config.json asks for, whether its head is tied or not.
VisualTokens visual_tokens_of(const ModelConfig&, const std::filesystem::path& model_dir);
}  // namespace lamina
