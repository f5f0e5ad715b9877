#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <lamina/core/batch.hpp>
#include <lamina/core/error.hpp>
#include <lamina/core/tensor/tensors.hpp>
#include <lamina/model/model_source.hpp>
#include <lamina/model/registry.hpp>

/// The models that a program holds. Each model on each backend is a translation unit of its own, written by
/// lamina_add_models() (cmake/add_models.cmake), which registers itself here before main() starts. A Boost.Hana map
/// from names to types needs all models in one unit, compiled whole after every change: 41 s and 1.4 GB for two small
/// ones, while each alone takes 25 s and 1.1 GB and they build side by side (g++ 12, 2 cores).
namespace lamina {

namespace engine {
class EngineSession;
struct EngineOptions;
}  // namespace engine

using OpenTrain = std::unique_ptr<TrainSession> (*)(const ModelSource&, const TrainableOptions&);
using OpenEngine = std::unique_ptr<engine::EngineSession> (*)(const ModelSource&, const engine::EngineOptions&);

/// Training on the language model alone, or everywhere.
struct TrainWays {
  OpenTrain language = nullptr, everywhere = nullptr;
};
/// The ways a composition runs on a backend: training of adapters, by the name of their kind ("lora"), and of the whole
/// model, and generation.
struct Ways {
  std::map<std::string, TrainWays> adapters = {};
  TrainWays full = {};
  OpenEngine engine = nullptr;
  std::map<int, OpenEngine> sharded = {};  ///< generation by so many ranks (compose/sharded.hpp)
};

struct RegisteredModel {
  std::string name, family;
  std::vector<Fact> facts;
  VisualTokens visual_tokens = {};  ///< how many tokens an image has
  std::vector<TensorSpec> (*tensors)() = nullptr;
  bool (*divides_among)(int ranks) = nullptr;  ///< whether so many ranks can share it (compose/sharded.hpp)
  Ways cpu = {}, cuda = {}, cuda_f16 = {};
};

/// By name; complete when main() starts.
inline std::vector<RegisteredModel>& registered_models() {
  static std::vector<RegisteredModel> models;
  return models;
}

/// Error if two models read the same config.json: the programs could not tell which of them a folder wants.
inline void require_distinct(std::span<const RegisteredModel> models) {
  for (std::size_t i = 0; i < models.size(); ++i)
    for (std::size_t k = i + 1; k < models.size(); ++k)
      if (models[i].family == models[k].family && models[i].facts == models[k].facts)
        fail("the models ", models[i].name, " and ", models[k].name, " read the same config.json: model_type ",
             models[i].family,
             " and the same sizes. Leave one of them out, or give it another FAMILY in "
             "lamina_add_models");
}

/// The ways of one backend in the model's entry, which the first call for it creates.
inline Ways& ways_of(RegisteredModel model, Ways RegisteredModel::*backend) {
  std::vector<RegisteredModel>& models = registered_models();
  auto at = std::lower_bound(models.begin(), models.end(), model.name,
                             [](const RegisteredModel& other, const std::string& name) { return other.name < name; });
  if (at == models.end() || at->name != model.name) at = models.insert(at, std::move(model));
  return (*at).*backend;
}
/// Adds the ways of one backend. Returns true, so that a constant can hold the call.
inline bool register_model(RegisteredModel model, Ways RegisteredModel::*backend, Ways ways) {
  Ways& known = ways_of(std::move(model), backend);
  ways.sharded = std::move(known.sharded);
  known = std::move(ways);
  return true;
}
/// Adds generation by so many ranks; units of their own do, since few programs want it.
inline bool register_sharded(RegisteredModel model, Ways RegisteredModel::*backend, int ranks, OpenEngine open) {
  ways_of(std::move(model), backend).sharded[ranks] = open;
  return true;
}

}  // namespace lamina
