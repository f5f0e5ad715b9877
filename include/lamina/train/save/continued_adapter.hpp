#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/checkpoint/adapter/config.hpp>
#include <lamina/train/arguments/key_name.hpp>

/// An adapter that goes on training keeps the settings that it was made with, as in PEFT and LLaMA-Factory.
namespace lamina::train {

/// The config of the adapter that goes on, the last of adapter_name_or_path; none if the run makes a fresh one.
inline std::optional<checkpoint::AdapterConfig> continued_adapter(const Arguments& a) {
  if (a.adapter_name_or_path.empty() || a.create_new_adapter) return std::nullopt;
  return checkpoint::AdapterConfig::load(a.adapter_name_or_path.back());
}

/// One line for each setting of a fresh adapter that was given and that the continued one overrides.
inline std::vector<std::string> overridden_settings(const Arguments& a) {
  const auto before = continued_adapter(a);
  if (!before) return {};
  std::vector<std::string> notes;
  const auto check = [&](KeyName name, const auto& given, const auto& own) {
    if (setting_of(a, name) && given != own)
      notes.push_back(cat(std::string_view(name), " has no effect: ", a.adapter_name_or_path.back().string(),
                          " goes on with its own, ", own, "; create_new_adapter: true starts another adapter"));
  };
  check("lora_rank", a.lora_rank, before->r);
  check("lora_alpha", a.lora_alpha.value_or(before->lora_alpha), before->lora_alpha);
  check("lora_dropout", a.lora_dropout, before->lora_dropout);
  check("use_rslora", a.use_rslora, before->use_rslora);
  check("use_dora", a.use_dora, before->use_dora);
  if (setting_of(a, "lora_target"))
    notes.push_back(cat("lora_target has no effect: ", a.adapter_name_or_path.back().string(),
                        " goes on with the layers that it has"));
  if (!a.additional_target.empty())
    notes.push_back(cat("additional_target has no effect: ", a.adapter_name_or_path.back().string(),
                        " goes on with the modules that it has"));
  return notes;
}

}  // namespace lamina::train
