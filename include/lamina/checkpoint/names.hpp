#pragma once
#include <algorithm>
#include <span>
#include <string>
#include <string_view>

/// One canonical spelling of every tensor's and module's name: that of the model types. Files of other writers and
/// other times may spell them differently; a model family says how (model/family.hpp).
namespace lamina::checkpoint {

/// Names that begin with the components `spelt` begin with `canonical` instead.
struct Respelling {
  std::string_view spelt, canonical;
};

/// A tensor (n, inputs, outputs) that holds the matrices of n modules as x W wants them: module i's are
/// "<path>.<i>.<part>.weight", each (its outputs, inputs), with one part's outputs after the other's, as many of each.
/// stacked: the ending of the tensor's name, "experts.gate_up_proj" of the path "experts".
struct Stacking {
  std::string_view stacked;
  std::span<const std::string_view> parts;
};

/// How the files of a family spell names. Without rules, names are canonical as they are.
struct NameRules {
  std::span<const Respelling> respellings = {};  ///< the first that fits is applied, once
  std::span<const std::string_view> parts = {};  ///< canonical beginnings of all names that the family's models own
  std::span<const Stacking> stackings = {};
};

namespace detail {
/// True if name is prefix or continues it with a dot.
inline constexpr bool under(std::string_view name, std::string_view prefix) {
  return name.starts_with(prefix) && (name.size() == prefix.size() || name[prefix.size()] == '.');
}
}  // namespace detail

/// The canonical spelling of a name in any that the rules know; a name that they do not know stays as it is.
/// canonical_name(canonical_name(x)) == canonical_name(x).
inline std::string canonical_name(std::string_view name, const NameRules& rules) {
  for (const Respelling& rule : rules.respellings)
    if (detail::under(name, rule.spelt)) return std::string(rule.canonical) += name.substr(rule.spelt.size());
  return std::string(name);
}

/// Whether a canonical name belongs to a part of the family's models.
inline bool is_part(std::string_view canonical, const NameRules& rules) {
  return std::any_of(rules.parts.begin(), rules.parts.end(),
                     [&](std::string_view part) { return detail::under(canonical, part); });
}

}  // namespace lamina::checkpoint
