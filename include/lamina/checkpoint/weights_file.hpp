#pragma once
#include <cstring>
#include <filesystem>
#include <vector>

#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/compose/plan/initialise.hpp>
#include <lamina/compose/plan/weights.hpp>

/// A model's weights to a safetensors file and back, under the names of its type: for experiments. Programs save what
/// other programs open (train/save/model_writer.hpp).
namespace lamina {

/// Writes all tensors, adapters too, as they are in memory. Error if one is quantised, and if the file cannot be
/// written whole.
template <class Model>
void save(Weights<Model, float>& weights, const std::filesystem::path& path) {
  std::vector<checkpoint::TensorData> tensors;
  for (const TensorSlot& slot : weights.slots()) {
    if (slot.quantization)
      fail(slot.name(), " is stored as ", name_of(slot.quantization), ", which files have no name for");
    const auto bytes = static_cast<std::size_t>(slot.spec.count()) * size_bytes(slot.dtype);
    tensors.push_back({slot.name(),
                       slot.dtype,
                       {slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank},
                       {static_cast<const std::byte*>(weights.data(slot)), bytes}});
  }
  checkpoint::write_safetensors(path, tensors);
}

/// The model of a safetensors file, or of a folder of them, in fp32, ready to train. Adapters that the files do not
/// hold start from their initial values. Error, naming the file and both shapes, if a tensor of the model is missing or
/// has another shape.
template <class Model>
Weights<Model, float> load(const std::filesystem::path& path, std::uint64_t seed = 1) {
  const auto files = checkpoint::Checkpoint::open(path);
  Weights<Model, float> weights = initialised<Model>(seed);
  std::vector<float> norms;  // of the rows of the last matrix of the base model
  for (const TensorSlot& slot : weights.slots()) {
    if (slot.spec.added && !files.find(slot.name())) {
      if (slot.spec.init == TensorSpec::Init::row_norms)
        weights.fill(slot, [&](std::span<std::byte> to) { std::memcpy(to.data(), norms.data(), to.size()); });
      continue;
    }
    const checkpoint::detail::TensorLoad values(slot, files, {}, 0);
    weights.fill(slot, [&](std::span<std::byte> to) {
      values.read(0, to);
      if (slot.spec.rank == 2 && !slot.spec.added) norms = detail::row_norms<float>(slot.spec, to.data());
    });
  }
  return weights;
}

}  // namespace lamina
