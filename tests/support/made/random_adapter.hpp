#pragma once
#include <lamina/checkpoint/adapter.hpp>

#include <deque>
#include <random>

/// Adapter folders as PEFT writes them, with random matrices.
namespace lamina::testing {

struct AdaptedLayer {
  std::string module;
  int inputs, outputs;
};
/// The linear layers of a model whose names contain `where`.
inline std::vector<AdaptedLayer> layers_with(const std::vector<TensorSpec>& tensors, std::string_view where) {
  std::vector<AdaptedLayer> layers;
  for (const TensorSpec& spec : tensors) {
    const std::string module = checkpoint::module_of(std::string(spec.path.view()));
    if (spec.takes_row_terms && module.find(where) != std::string::npos)
      layers.push_back({module, spec.cols(), spec.rows()});
  }
  return layers;
}

inline void write_random_adapter(const std::filesystem::path& dir, const std::vector<AdaptedLayer>& layers, int rank,
                                 unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-0.3f, 0.3f);
  std::deque<std::vector<float>> values;
  std::vector<checkpoint::TensorData> tensors;
  checkpoint::AdapterConfig config;
  config.r = rank, config.lora_alpha = 1.5 * rank;
  for (const AdaptedLayer& layer : layers) {
    config.target_modules.push_back(layer.module);
    for (const bool a : {true, false}) {
      const std::int64_t rows = a ? rank : layer.outputs, cols = a ? layer.inputs : rank;
      auto& own = values.emplace_back(static_cast<std::size_t>(rows * cols));
      for (float& x : own) x = uniform(random);
      tensors.push_back({checkpoint::peft_tensor_name(layer.module, a ? "lora_A" : "lora_B"),
                         DType::F32,
                         {rows, cols},
                         std::as_bytes(std::span(own))});
    }
  }
  checkpoint::write_adapter(dir, config, tensors);
}

}  // namespace lamina::testing
