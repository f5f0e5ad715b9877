#pragma once
#include <filesystem>
#include <string>

namespace lamina::serve {

/// An adapter folder that the operator names, on the command line or later.
struct AdapterModule {
  std::string name;  ///< what requests have in `model`
  std::filesystem::path path;
  std::string base_model_name = {};  ///< the served name that /v1/models shows as its base; empty: the first one
};

}  // namespace lamina::serve
