#pragma once
#include <memory>

#include <lamina/engine/session.hpp>
#include <lamina/model/open_model.hpp>

namespace lamina {

/// Implemented by the generated registry: the session of the composition that fits.
std::unique_ptr<engine::EngineSession> make_engine_session(const ModelSource&, const engine::EngineOptions&);

/// Reads config.json and weights of a model directory and opens the composition that fits.
inline std::unique_ptr<engine::EngineSession> open_for_engine(const std::filesystem::path& model_dir,
                                                              const engine::EngineOptions& options) {
  return make_engine_session(open_source(model_dir, options.adapters), options);
}

}  // namespace lamina
