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
  std::vector<checkpoint::AdapterLayers> folded;  ///< adapters that become part of the weights, in order
  checkpoint::AdapterLayers trained;              ///< the adapter that goes on training; empty: a fresh one
  double trained_dropout = 0;                     ///< its lora_dropout
};

/// Defined in cmake/models/registry.cpp, which knows the compiled models: opens the composition that fits a source.
/// Error if none does.
std::unique_ptr<TrainSession> make_train_session(const ModelSource&, const TrainableOptions&);
/// The tensors that a config.json asks for; model_dir is its folder.
std::vector<TensorSpec> tensors_of(const ModelConfig&, const std::filesystem::path& model_dir);
}  // namespace lamina
