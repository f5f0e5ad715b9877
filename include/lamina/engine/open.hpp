#pragma once
#include <memory>

#include <lamina/engine/session.hpp>
#include <lamina/model/open_model.hpp>

namespace lamina {

/// Implemented by the generated registry: the session of the composition that fits.
std::unique_ptr<engine::EngineSession> make_engine_session(const ModelSource&, const engine::EngineOptions&);
/// The same file: Error if the model of a directory cannot be divided among so many ranks, with the numbers that it can
/// be divided among, if this program does not hold the parts, or if a GPU of its own for each of `here` ranks is wanted
/// and not there. device: as in EngineOptions.
void expect_ranks(const std::filesystem::path& model_dir, int ranks, const std::string& device, int here);

/// Reads config.json and weights of a model directory and opens the composition that fits.
inline std::unique_ptr<engine::EngineSession> open_for_engine(const std::filesystem::path& model_dir,
                                                              const engine::EngineOptions& options) {
  return make_engine_session(open_source(model_dir, options.adapters), options);
}

}  // namespace lamina
