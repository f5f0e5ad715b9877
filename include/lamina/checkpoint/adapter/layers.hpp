#pragma once
#include <lamina/checkpoint/adapter.hpp>
#include <lamina/checkpoint/load_weights.hpp>

namespace lamina::checkpoint {

/// What an adapter folder changes.
inline AdapterLayers read_adapter(const std::filesystem::path& dir, const NameRules& names) {
  const auto opened = std::make_shared<const Adapter>(Adapter::load(dir, names));
  const Adapter& adapter = *opened;
  AdapterLayers layers;
  for (const ReplacedTensor& t : adapter.replaced()) layers.replaced[t.tensor] = t.source;
  if (!layers.replaced.empty()) layers.file = {opened, &adapter.weights()};
  for (const LoraPair& pair : adapter.pairs())
    layers[pair.module] = {pair.rank, static_cast<float>(pair.scale), adapter.read(pair.a), adapter.read(pair.b),
                           pair.magnitude.empty() ? std::vector<float>() : adapter.read(pair.magnitude)};
  return layers;
}
/// The same for rows that have adapters of their own. Error for DoRA, which changes W x as well, and for tensors that
/// the adapter replaces whole.
inline AdapterLayers read_low_rank_adapter(const std::filesystem::path& dir, const NameRules& names) {
  AdapterLayers layers = read_adapter(dir, names);
  if (has_magnitudes(layers))
    fail(dir.string(),
         ": use_dora: a DoRA adapter is not added to rows of an unmerged model: merge it with "
         "lamina-merge, or start the server with --adapter ",
         dir.string());
  if (!layers.replaced.empty())
    fail(dir.string(), ": replaces ", layers.replaced.begin()->first,
         " whole (modules_to_save), which rows of an unmerged model cannot: merge it with lamina-merge, or start the ",
         "server with --adapter ", dir.string());
  return layers;
}

}  // namespace lamina::checkpoint
