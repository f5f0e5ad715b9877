#pragma once
#include <lamina/text/jinja/values/operators.hpp>
#include <lamina/text/jinja/values/printing.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lamina::text::jinja {

/// What a call passes.
struct CallArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// The arguments of one call, by the function's parameters.
class BoundArguments {
 public:
  /// Fails if there are too many arguments, unknown names, or one given twice. `function` is for messages.
  BoundArguments(std::string_view function, const CallArguments& given,
                 std::initializer_list<std::string_view> parameters)
      : function_(function), names_(parameters), values_(parameters.size()) {
    if (given.positional.size() > names_.size())
      fail(function, " takes at most ", names_.size(), " arguments, got ", given.positional.size());
    for (std::size_t i = 0; i < given.positional.size(); ++i) values_[i] = given.positional[i];
    for (const auto& [name, value] : given.named) {
      const auto at = static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
      if (at == names_.size()) fail(function, " has no parameter ", name);
      if (values_[at]) fail(function, " got two values for ", name);
      values_[at] = value;
    }
  }

  const std::optional<Value>& operator[](std::size_t i) const { return values_[i]; }
  bool has(std::size_t i) const { return values_[i].has_value(); }

  const Value& required(std::size_t i) const {
    if (!values_[i]) fail(function_, " wants ", names_[i]);
    return *values_[i];
  }
  bool boolean(std::size_t i, bool otherwise) const { return values_[i] ? truth(*values_[i]) : otherwise; }
  std::int64_t integer(std::size_t i, std::int64_t otherwise) const {
    if (!values_[i]) return otherwise;
    const auto value = values_[i]->integer();
    if (!value) fail(function_, ": ", names_[i], " is a ", values_[i]->type_name(), ", wanted an integer");
    return *value;
  }
  /// A string; nothing if it is not given or None.
  std::optional<AuthoredText> text(std::size_t i) const {
    if (!values_[i] || values_[i]->is_none()) return {};
    const auto* value = values_[i]->text();
    if (!value) fail(function_, ": ", names_[i], " is a ", values_[i]->type_name(), ", wanted a string");
    return *value;
  }
  AuthoredText required_text(std::size_t i) const {
    required(i);
    const auto value = text(i);
    if (!value) fail(function_, ": ", names_[i], " is None, wanted a string");
    return *value;
  }

 private:
  std::string_view function_;
  std::vector<std::string_view> names_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace lamina::text::jinja
