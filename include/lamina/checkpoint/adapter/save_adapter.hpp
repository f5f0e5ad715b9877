#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include <lamina/checkpoint/adapter.hpp>
#include <lamina/checkpoint/load_weights.hpp>
#include <lamina/compose/plan/merged.hpp>

/// Adapters of any kind as PEFT stores them: for experiments. lamina-train saves its own (train/save/model_writer.hpp).
namespace lamina {

namespace detail {
/// Adds to a config what the kinds of M's Adapts say of the modules that have them, the innermost first.
template <class M>
void describe_kinds(nlohmann::json& config, Weights<M, float>& weights) {
  const auto describe = [&]<class Adapted>(auto&& self, std::type_identity<Adapted>) {
    if constexpr (requires { typename Adapted::adapter_kind; }) {
      using Kind = typename Adapted::adapter_kind;
      self(self, std::type_identity<typename Adapted::base_model>{});
      std::vector<std::string> modules;
      for_each_adapted_layer<M>([&]<class L>(std::type_identity<L>, int first) {
        if (is_of_kind<Kind, L>)
          modules.push_back(checkpoint::module_of(weights.slots()[static_cast<std::size_t>(first)].name()));
      });
      for (const std::string& module : modules) config["target_modules"].push_back(module);
      config["peft_type"] = std::string(Kind::peft_type);
      if constexpr (requires { Kind::peft_config(config, modules); }) Kind::peft_config(config, modules);
    }
  };
  describe(describe, std::type_identity<M>{});
}
}  // namespace detail

/// Writes what M adds to its base model as an adapter folder that PEFT loads, if the kinds of its adapters say what
/// PEFT calls them: `peft_type`, and, if its config has more fields, `peft_config(config, modules)`;
/// `shared_tensors()` of M's outermost kind, by name, belong to no layer. base: that model,
/// for the config.
template <class M>
void save_adapter(Weights<M, float>& weights, const std::filesystem::path& dir, const std::string& base) {
  nlohmann::json config = {{"base_model_name_or_path", base},
                           {"inference_mode", true},
                           {"task_type", nullptr},
                           {"target_modules", nlohmann::json::array()}};
  detail::describe_kinds<M>(config, weights);
  std::vector<checkpoint::TensorData> tensors;
  for (const TensorSlot& slot : weights.slots())
    if (slot.spec.added)
      tensors.push_back({std::string(checkpoint::peft_prefix) + slot.name(),
                         DType::F32,
                         {slot.spec.extents.begin(), slot.spec.extents.begin() + slot.spec.rank},
                         {static_cast<const std::byte*>(weights.data(slot)),
                          static_cast<std::size_t>(slot.spec.count()) * sizeof(float)}});
  using Kind = typename M::adapter_kind;
  if constexpr (requires { Kind::shared_tensors(); }) {
    static const auto shared = Kind::shared_tensors();
    for (const auto& [name, values] : shared)
      tensors.push_back({"base_model." + name,
                         DType::F32,
                         {values.rows(), values.cols()},
                         std::as_bytes(std::span(values.data(), static_cast<std::size_t>(values.size())))});
  }
  checkpoint::write_adapter(dir, config.dump(2, ' ', true), tensors);
}

}  // namespace lamina
