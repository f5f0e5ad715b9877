#pragma once
#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/model/session.hpp>

/// What trains, by name, after LLaMA-Factory's rules for these families: which tensors a method frees, which linear
/// layers `lora_target` means.
namespace lamina::train {

enum class Region { vision_tower, projector, language };

/// The projector is model.visual.merger; the deepstack mergers count as vision tower.
inline Region region_of(std::string_view name) {
  if (name.starts_with("model.visual.merger.")) return Region::projector;
  return name.starts_with("model.visual.") ? Region::vision_tower : Region::language;
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

/// The linear layers among `linears` that get an adapter. `all` stands for the last name components of every linear
/// outside the head, the projector and a frozen vision tower; a layer is adapted if its name contains such a component
/// (or one that the user lists) and its region is not frozen.
inline std::set<std::string> lora_modules(const std::vector<std::string>& linears, const TrainableOptions& o) {
  std::set<std::string> components(o.lora_target.begin(), o.lora_target.end());
  if (components.contains("all")) {
    components.clear();
    for (const std::string& m : linears) {
      const Region region = region_of(m + ".");
      if (m == "lm_head" || region == Region::projector || (region == Region::vision_tower && o.freeze_vision_tower))
        continue;
      components.insert(m.substr(m.rfind('.') + 1));
    }
  }
  std::set<std::string> chosen;
  for (const std::string& m : linears)
    if (!is_frozen(region_of(m + "."), o) &&
        std::any_of(components.begin(), components.end(),
                    [&](const std::string& c) { return m.find(c) != std::string::npos; }))
      chosen.insert(m);
  if (chosen.empty()) {
    std::string list;
    for (const std::string& t : o.lora_target) list += (list.empty() ? "" : ",") + t;
    fail("lora_target: ", list, " names no linear layer that may be trained: use all, or names such as q_proj,v_proj; ",
         "freeze_vision_tower and its sisters take layers away");
  }
  return chosen;
}

/// Whether `full` or `freeze` trains a tensor. `freeze`: the last n decoder layers, or the first -n.
inline bool is_trained(std::string_view name, int num_hidden_layers, const TrainableOptions& o) {
  if (is_frozen(region_of(name), o)) return false;
  if (o.method != TrainableOptions::Method::freeze) return true;
  constexpr std::string_view layers = "model.language_model.layers.";
  if (!name.starts_with(layers)) return false;
  const int layer = std::stoi(std::string(name.substr(layers.size())));
  const int n = o.freeze_trainable_layers;
  return n >= 0 ? layer >= num_hidden_layers - n : layer < -n;
}

}  // namespace lamina::train
