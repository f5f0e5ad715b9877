#pragma once
#include <algorithm>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include <lamina/checkpoint/adapter/config.hpp>
#include <lamina/checkpoint/names.hpp>

/// Which layers adapter_config.json lets PEFT adapt. Source: PEFT 0.18, tuners_utils.py, check_target_module_exists.
namespace lamina::checkpoint {

namespace detail {

/// PEFT's rule for a list: a name is a module's whole name or its end after a dot.
inline bool named_in(const std::vector<std::string>& names, const std::string& module) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& name) { return module == name || module.ends_with("." + name); });
}

/// Nothing if the expression is not one that std::regex understands: Python has more.
inline std::optional<std::regex> understood(const std::string& expression) {
  try {
    return std::regex(expression);
  } catch (const std::regex_error&) {
    return std::nullopt;
  }
}

/// True if the list or the regular expression, whichever is set, has the module; `unknown` if neither can tell.
inline bool selects(const std::vector<std::string>& names, const std::string& expression, const std::string& module,
                    bool unknown) {
  if (expression.empty()) return named_in(names, module);
  const auto pattern = understood(expression);
  return pattern ? std::regex_match(module, *pattern) : unknown;
}

/// The number of the layer that a module is in, as layers_to_transform counts; none if it is in no numbered layer.
inline std::optional<int> layer_of(const std::vector<std::string>& layers_pattern, const std::string& module) {
  std::vector<std::string> patterns = layers_pattern;
  if (patterns.empty()) patterns.emplace_back("[^.]*");
  for (const std::string& name : patterns) {
    const auto pattern = understood(".*\\." + name + "\\.(\\d{1,6})\\..*");
    std::smatch found;
    if (pattern && std::regex_match(module, found, *pattern)) return std::stoi(found[found.size() - 1]);
  }
  return std::nullopt;
}

/// The field for which PEFT leaves out a module of this name, or "" if PEFT adapts it.
inline std::string left_out_by(const AdapterConfig& c, const std::string& module) {
  const bool excludes = !c.exclude_modules.empty() || !c.exclude_regex.empty();
  if (excludes && selects(c.exclude_modules, c.exclude_regex, module, false)) return "exclude_modules";
  const bool all = c.target_regex == "all-linear" || (c.target_modules.empty() && c.target_regex.empty());
  if (!all && !selects(c.target_modules, c.target_regex, module, true)) return "target_modules";
  if (c.layers_to_transform.empty() ||
      std::find(c.target_modules.begin(), c.target_modules.end(), module) != c.target_modules.end())
    return "";
  const std::optional<int> layer = layer_of(c.layers_pattern, module);
  const auto& layers = c.layers_to_transform;
  return layer && std::find(layers.begin(), layers.end(), *layer) != layers.end() ? "" : "layers_to_transform";
}

}  // namespace detail

/// Error if PEFT would pass over the adapter's tensors for a module: then the adapter means one thing here and another
/// there. spelt: the module's name in the adapter's file. The config may be written against that name or, if the file
/// was renamed, against the canonical one.
inline void require_targeted(const AdapterConfig& config, const std::string& spelt, const std::string& file,
                             const NameRules& names) {
  const std::string canonical = canonical_name(spelt, names), field = detail::left_out_by(config, spelt);
  if (field.empty() || (canonical != spelt && detail::left_out_by(config, canonical).empty())) return;
  fail(file, ": ", field, " of adapter_config.json leaves out ", canonical,
       ", and adapter_model.safetensors has tensors for it: which of them is right? Correct the field, or remove the "
       "tensors");
}

/// Error if modules_to_save or bias ask for tensors that the file does not hold. replaced: canonical names of the
/// tensors that the file holds whole.
inline void require_saved(const AdapterConfig& config, const std::vector<std::string>& replaced,
                          const std::string& file, const NameRules& names) {
  for (const std::string& module : config.modules_to_save) {
    const bool held = std::any_of(replaced.begin(), replaced.end(), [&](const std::string& tensor) {
      const auto holds = [&](const std::string& name) { return tensor.find(name + ".") != tensor.npos; };  // as PEFT
      return holds(module) || holds(canonical_name(module, names));
    });
    if (!held)
      fail(file, ": modules_to_save names ", module,
           ", but adapter_model.safetensors has no tensor of it: PEFT cannot "
           "load such an adapter; remove the name from the field if the module was not trained");
  }
  const bool biases = std::any_of(replaced.begin(), replaced.end(),
                                  [](const std::string& tensor) { return tensor.ends_with(".bias"); });
  if (config.bias != "none" && !biases)
    fail(file, ": bias is \"", config.bias, "\", but adapter_model.safetensors has no bias: set it to none");
}

}  // namespace lamina::checkpoint
