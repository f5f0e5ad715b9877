#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lamina/serve/openai/api_error.hpp>

namespace lamina::serve {

/// Where the parts of a request stood before it was rewritten as a request of another API, so that an error names the
/// field that the client sent.
class RequestPlaces {
 public:
  /// What is at `path` of the rewritten request, or below it, came from `origin`.
  void add(std::string path, std::string origin) { places_.emplace_back(std::move(path), std::move(origin)); }

  /// The same error about the request as it was sent.
  ApiError restored(const ApiError& error) const {
    const auto* place = find(error.param);
    if (!place) return error;
    const auto& [path, origin] = *place;
    std::string message = error.what();
    if (message.starts_with(error.param)) message.replace(0, path.size(), origin);
    return {error.status, error.type, message, origin + error.param.substr(path.size())};
  }
  /// Runs f; an ApiError from it is restored.
  template <class F>
  auto guard(const F& f) const {
    try {
      return f();
    } catch (const ApiError& error) {
      throw restored(error);
    }
  }

 private:
  /// The longest path that holds `param`.
  const std::pair<std::string, std::string>* find(std::string_view param) const {
    const std::pair<std::string, std::string>* best = nullptr;
    for (const auto& place : places_) {
      const std::string& path = place.first;
      const bool holds = param.starts_with(path) && (param.size() == path.size() || param[path.size()] == '.');
      if (holds && (!best || path.size() > best->first.size())) best = &place;
    }
    return best;
  }

  std::vector<std::pair<std::string, std::string>> places_;
};

}  // namespace lamina::serve
