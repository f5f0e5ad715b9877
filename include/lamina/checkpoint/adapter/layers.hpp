#pragma once
#include <lamina/checkpoint/adapter.hpp>
#include <lamina/checkpoint/load_weights.hpp>

namespace lamina::checkpoint {

/// The layers of an adapter folder. Error for what only lamina-merge knows: tensors that are replaced whole.
inline AdapterLayers read_adapter(const std::filesystem::path& dir, const NameRules& names) {
  const Adapter adapter = Adapter::load(dir, names);
  if (!adapter.replaced().empty())
    fail(dir.string(), ": the adapter replaces ", adapter.replaced().front().tensor,
         " whole (modules_to_save), which is supported by lamina-merge alone: merge it first");
  AdapterLayers layers;
  for (const LoraPair& pair : adapter.pairs())
    layers[pair.module] = {pair.rank, static_cast<float>(pair.scale), adapter.read(pair.a), adapter.read(pair.b),
                           pair.magnitude.empty() ? std::vector<float>() : adapter.read(pair.magnitude)};
  return layers;
}
/// The same for rows that have adapters of their own. Error for DoRA, which changes W x as well.
inline AdapterLayers read_low_rank_adapter(const std::filesystem::path& dir, const NameRules& names) {
  AdapterLayers layers = read_adapter(dir, names);
  if (has_magnitudes(layers))
    fail(dir.string(),
         ": use_dora: a DoRA adapter is not added to rows of an unmerged model: merge it with "
         "lamina-merge, or start the server with --adapter ",
         dir.string());
  return layers;
}

}  // namespace lamina::checkpoint
