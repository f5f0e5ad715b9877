#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include <lamina/checkpoint/load_weights.hpp>

namespace lamina::engine {

using AdapterId = std::uint64_t;

/// A LoRA adapter as a session keeps it for requests that name it (EngineSession::prepare_adapter). Whoever may still
/// run such a request has a part in it, so that it can be unloaded at any time.
struct LoadedAdapter {
  std::string name;             ///< as requests have it
  AdapterId id = 0;             ///< never given twice, 0 to none: what one adapter computed is not another's
  bool encodes_images = false;  ///< it changes the vision tower or the projector, and so the rows of images
  int modules = 0;              ///< linear layers that it changes
  /// As its files have it, for the other ranks of a model that is divided; null: nobody else needs it.
  std::shared_ptr<const checkpoint::AdapterLayers> layers = nullptr;
  virtual ~LoadedAdapter() = default;
};

}  // namespace lamina::engine
