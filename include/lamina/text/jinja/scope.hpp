#pragma once
#include <lamina/text/jinja/values/value.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text::jinja {

/// Names of one block: the template, an iteration of a loop, a macro's call.
struct Scope : std::enable_shared_from_this<Scope> {
  std::vector<std::pair<std::string, Value>> names;  // few, so that a search is quick
  std::shared_ptr<Scope> parent;
  bool kept = false;  ///< a macro was defined here

  explicit Scope(std::shared_ptr<Scope> parent) : parent(std::move(parent)) {}

  void set(std::string_view name, Value value) {
    for (auto& [known, old] : names)
      if (known == name) return void(old = std::move(value));
    names.emplace_back(name, std::move(value));
  }
  /// Here or in a scope around; nullptr if it is nowhere.
  const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope; scope = scope->parent.get())
      for (const auto& [known, value] : scope->names)
        if (known == name) return &value;
    return nullptr;
  }
};

}  // namespace lamina::text::jinja
