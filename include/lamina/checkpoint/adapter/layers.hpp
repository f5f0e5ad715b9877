#pragma once
#include <lamina/checkpoint/adapter.hpp>
#include <lamina/checkpoint/load_weights.hpp>

namespace lamina::checkpoint {

/// The layers of an adapter folder. Error for variants that only merging knows (DoRA, whole replaced tensors).
inline AdapterLayers read_adapter(const std::filesystem::path& dir, const NameRules& names) {
  const Adapter adapter = Adapter::load(dir, names);
  if (!adapter.replaced().empty())
    fail(dir.string(), ": the adapter replaces ", adapter.replaced().front().tensor,
         " whole (modules_to_save), which is supported by lamina-merge alone: merge it first");
  AdapterLayers layers;
  for (const LoraPair& pair : adapter.pairs()) {
    if (!pair.magnitude.empty())
      fail(dir.string(), ": a DoRA adapter can be merged with lamina-merge, not trained or served unmerged");
    layers[pair.module] = {pair.rank, static_cast<float>(pair.scale), adapter.read(pair.a), adapter.read(pair.b)};
  }
  return layers;
}

}  // namespace lamina::checkpoint
