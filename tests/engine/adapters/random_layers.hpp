#pragma once
#include <lamina/checkpoint/load_weights.hpp>

#include <random>
#include <string>
#include <string_view>

namespace lamina::testing {

/// Random matrices for the linear layers whose names contain `where`.
template <class Model>
checkpoint::AdapterLayers random_layers(std::string_view where, int r, unsigned seed) {
  checkpoint::AdapterLayers layers;
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-0.3f, 0.3f);
  for (const TensorSpec& spec : list_tensors<Model>()) {
    const std::string module = checkpoint::module_of(std::string(spec.path.view()));
    if (!spec.takes_row_terms || module.find(where) == std::string::npos) continue;
    checkpoint::AdapterLayer layer{.rank = r, .scale = 0.75f, .a = {}, .b = {}};
    layer.a.resize(static_cast<std::size_t>(r * spec.cols())),
        layer.b.resize(static_cast<std::size_t>(r * spec.rows()));
    for (float& x : layer.a) x = uniform(random);
    for (float& x : layer.b) x = uniform(random);
    layers[module] = std::move(layer);
  }
  return layers;
}

}  // namespace lamina::testing
