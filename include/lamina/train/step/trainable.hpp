#pragma once
#include <algorithm>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/core/tensor/tensors.hpp>
#include <lamina/io/nearest_word.hpp>
#include <lamina/io/program/usage.hpp>
#include <lamina/model/family.hpp>
#include <lamina/model/train_session.hpp>

/// What trains, by name, after LLaMA-Factory's rules: which tensors a method frees, which linear
/// layers `lora_target` means.
namespace lamina::train {

enum class Region { vision_tower, projector, language };

/// The region of a tensor or of a module.
inline Region region_of(std::string_view name, const Regions& regions) {
  if (checkpoint::detail::under(name, regions.projector)) return Region::projector;
  return checkpoint::detail::under(name, regions.tower) ? Region::vision_tower : Region::language;
}
/// What to say of freeze_multi_modal_projector: false if a model of one's own calls its projector otherwise than its
/// family, so that nothing is meant; else "".
inline std::string missing_projector(std::span<const TensorSpec> tensors, const Regions& regions,
                                     const TrainableOptions& o) {
  const bool here = std::any_of(tensors.begin(), tensors.end(), [&](const TensorSpec& t) {
    return region_of(t.path.view(), regions) == Region::projector;
  });
  if (o.freeze_multi_modal_projector || !o.freeze_vision_tower || regions.projector.empty() || here) return "";
  return cat("freeze_multi_modal_projector: false has no effect: no tensor of this model is under ", regions.projector,
             ", as its family calls the projector, and freeze_vision_tower freezes all else of the tower; additional_",
             "target names modules that are trained next to adapters");
}
inline bool is_frozen(Region region, const TrainableOptions& o) {
  switch (region) {
    case Region::vision_tower:
      return o.freeze_vision_tower;
    case Region::projector:
      return o.freeze_multi_modal_projector;
    case Region::language:
      return o.freeze_language_model;
  }
  return false;
}

/// A region's learning rate over the run's own.
inline float rate_of(Region region, const TrainableOptions& o) {
  switch (region) {
    case Region::vision_tower:
      return o.tower_rate;
    case Region::projector:
      return o.projector_rate;
    case Region::language:
      break;
  }
  return o.language_rate;
}

/// The key that freezes a region.
inline std::string_view freezing_key(Region region) {
  switch (region) {
    case Region::vision_tower:
      return "freeze_vision_tower";
    case Region::projector:
      return "freeze_multi_modal_projector";
    case Region::language:
      break;
  }
  return "freeze_language_model";
}

namespace detail {

inline std::string last_component(const std::string& module) { return module.substr(module.rfind('.') + 1); }

/// The components that `all` stands for: those of every linear layer outside the head, the projector and a frozen
/// vision tower.
inline std::set<std::string> all_components(const std::vector<std::string>& linears, const Regions& regions,
                                            const TrainableOptions& o) {
  std::set<std::string> components;
  for (const std::string& m : linears) {
    const Region region = region_of(m, regions);
    if (m != regions.head && region != Region::projector && !(region == Region::vision_tower && o.freeze_vision_tower))
      components.insert(last_component(m));
  }
  return components;
}

/// Whether a name of lora_target means a module: of a model with a vision tower any part of the module's name, as
/// LLaMA-Factory looks for it, of a text model its end, in whole components, as PEFT does.
/// source  LLaMA-Factory 0.9.5, model/model_utils/visual.py, patch_target_modules; PEFT 0.18.1, tuners/tuners_utils.py,
///         check_target_module_exists
inline bool means(std::string_view target, std::string_view module, const Regions& regions) {
  if (!regions.tower.empty()) return module.find(target) != module.npos;
  return module == target || module.ends_with(cat(".", target));
}

/// Why a name of lora_target adapts nothing.
[[noreturn]] inline void refuse_target(const std::string& target, const std::vector<std::string>& modules,
                                       const std::vector<std::string>& linears, const Regions& regions,
                                       const std::set<std::string>& mixtures, const TrainableOptions& o) {
  const std::string subject = "lora_target: " + target;
  if (target == "all") io::usage(subject, " stands for all names: give it alone, or the names without it");
  for (const std::string& m : mixtures)
    if (means(target, m, regions))
      io::usage(subject,
                ": experts and their routers get no adapters: in PEFT's models a layer's experts are one tensor");
  std::set<std::string> frozen_by;
  bool other_module = target == regions.head;
  for (const std::string& m : modules) {
    if (!means(target, m, regions)) continue;
    const Region region = region_of(m, regions);
    if (is_frozen(region, o))
      frozen_by.emplace(freezing_key(region));
    else
      other_module = true;
  }
  if (other_module) io::usage(subject, ": adapters are built for the linear layers of decoder and vision tower alone");
  if (!frozen_by.empty())
    io::usage(subject, ": ", *frozen_by.begin(),
              ": true freezes every layer of that name: set it to false, or leave the ", "name out");
  std::set<std::string> known;
  for (const std::string& m : linears) known.insert(last_component(m));
  io::usage(subject, regions.tower.empty() ? " ends the name" : " is in the name", " of no layer of this model",
            io::did_you_mean(target, known), "; known are all, ", io::listed(known));
}

}  // namespace detail

/// The modules of mixtures of experts: routers, and the layers of experts.
inline std::set<std::string> mixture_modules(std::span<const TensorSpec> tensors) {
  std::set<std::string> modules;
  for (const TensorSpec& spec : tensors)
    if (const std::string_view name = spec.path.view(); spec.mixture && name.ends_with(".weight") && !spec.added)
      modules.emplace(name.substr(0, name.size() - 7));
  return modules;
}

/// The linear layers among `linears`, those that can have one, that get an adapter: a layer is adapted if a
/// name of lora_target means it and its region is not frozen. Error on a name that adapts nothing: PEFT passes over it
/// as long as another one matches. modules: every module of the model that has a weight, for the message; mixtures: the
/// layers of mixtures of experts, which get none.
inline std::set<std::string> lora_modules(std::vector<std::string> linears, const std::vector<std::string>& modules,
                                          const Regions& regions, const TrainableOptions& o,
                                          const std::set<std::string>& mixtures = {}) {
  std::erase_if(linears, [&](const std::string& m) { return mixtures.contains(m); });
  std::set<std::string> components(o.lora_target.begin(), o.lora_target.end());
  if (o.lora_target == std::vector<std::string>{"all"}) components = detail::all_components(linears, regions, o);
  std::set<std::string> chosen;
  for (const std::string& c : components) {
    bool adapts = false;
    for (const std::string& m : linears)
      if (detail::means(c, m, regions) && !is_frozen(region_of(m, regions), o)) chosen.insert(m), adapts = true;
    if (!adapts && o.lora_target != std::vector<std::string>{"all"})
      detail::refuse_target(c, modules, linears, regions, mixtures, o);
  }
  if (chosen.empty())
    io::usage("lora_target: all: freeze_vision_tower, freeze_multi_modal_projector and freeze_language_model leave no ",
              "linear layer to adapt");
  return chosen;
}

/// The tensors that additional_target trains whole: those of each module whose name ends in one of its names, wherever
/// it is. tensors: the model's own; adapted: its modules with an adapter. The head of a model that ties it to its
/// embedding is that embedding. Error on a name that trains nothing, or a layer that has an adapter.
/// source  PEFT 0.18.1, utils/other.py, set_additional_trainable_modules
inline std::set<std::string> whole_tensors(std::span<const TensorSpec> tensors, const std::set<std::string>& adapted,
                                           const Regions& regions, const TrainableOptions& o) {
  std::set<std::string> chosen, known;
  const auto is_here = [&](std::string_view module) {
    return std::any_of(tensors.begin(), tensors.end(),
                       [&](const TensorSpec& t) { return checkpoint::detail::under(t.path.view(), module); });
  };
  for (const std::string& target : o.additional_target) {
    const std::string_view wanted = target == regions.head && !is_here(target) ? regions.embedding : target;
    bool trains = false;
    for (const TensorSpec& spec : tensors) {
      if (spec.added) continue;
      const std::string_view name = spec.path.view();
      for (std::size_t dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
        const std::string module(name.substr(0, dot));
        known.insert(module.substr(module.rfind('.') + 1));
        if (module.ends_with(wanted)) chosen.emplace(name), trains = true;
      }
    }
    if (!trains)
      io::usage("additional_target: ", target, " ends the name of no module of this model",
                io::did_you_mean(target, known));
  }
  for (const std::string& module : adapted)
    if (chosen.contains(module + ".weight"))
      io::usage("additional_target: ", module, " has an adapter (lora_target): leave it to one of the two");
  return chosen;
}

namespace detail {

/// The components of a name, between its dots.
inline std::vector<std::string> components_of(std::string_view name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}
inline bool is_number(const std::string& word) {
  return !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
}

}  // namespace detail

/// Error if freeze_trainable_modules or freeze_extra_modules has a name that no tensor bears where it has to: behind a
/// layer's number, or last before ".weight" outside of layers.
/// source  LLaMA-Factory 0.9.5, model/adapter.py, _setup_freeze_tuning
inline void require_freeze_modules(const std::vector<std::string>& tensors, const TrainableOptions& o) {
  std::set<std::string> of_layers = {"all"}, outside;
  for (const std::string& name : tensors) {
    const std::vector<std::string> parts = detail::components_of(name);
    bool in_layer = false;
    for (std::size_t i = 1; i + 1 < parts.size(); ++i)
      if (detail::is_number(parts[i])) in_layer = true, of_layers.insert(parts[i + 1]);
    if (!in_layer && parts.size() > 1) outside.insert(parts[parts.size() - 2]);
  }
  const auto require = [](const char* key, const std::vector<std::string>& names, const std::set<std::string>& known) {
    for (const std::string& name : names)
      if (!known.contains(name))
        io::usage(key, ": ", name, " is no such module of this model", io::did_you_mean(name, known), "; known are ",
                  io::listed(known));
  };
  require("freeze_trainable_modules", o.freeze_trainable_modules, of_layers);
  require("freeze_extra_modules", o.freeze_extra_modules, outside);
}

/// Whether `full` or `freeze` trains a tensor. `freeze` trains the projector, freeze_extra_modules, and of the layers
/// with the numbers of the last n decoder layers, or the first -n, freeze_trainable_modules: of every stack, as
/// LLaMA-Factory goes by the number in the name. What the freeze flags name stays frozen in both.
inline bool is_trained(std::string_view name, int num_hidden_layers, const Regions& regions,
                       const TrainableOptions& o) {
  const Region region = region_of(name, regions);
  if (is_frozen(region, o)) return false;
  if (o.method != TrainableOptions::Method::freeze || region == Region::projector) return true;
  const int n = o.freeze_trainable_layers;
  const int first = n > 0 ? std::max(0, num_hidden_layers - n) : 0;
  const int end = n > 0 ? num_hidden_layers : std::min(-n, num_hidden_layers);
  const auto holds = [&](const std::string& part) { return name.find(part) != std::string_view::npos; };
  for (int layer = first; layer < end; ++layer)
    for (const std::string& module : o.freeze_trainable_modules)
      if (holds(cat(".", layer, ".", module == "all" ? "" : module))) return true;
  return std::any_of(o.freeze_extra_modules.begin(), o.freeze_extra_modules.end(), holds);
}

}  // namespace lamina::train
