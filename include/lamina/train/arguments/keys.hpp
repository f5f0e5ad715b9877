#pragma once
#include <span>
#include <string>
#include <vector>

#include <lamina/train/arguments/keys_data.hpp>
#include <lamina/train/arguments/keys_finetuning.hpp>
#include <lamina/train/arguments/keys_model.hpp>
#include <lamina/train/arguments/keys_trainer.hpp>

namespace lamina::train {

/// Every key, group by group, in the order of LLaMA-Factory's argument classes. No name occurs twice.
inline std::span<const Key> all_keys() {
  static const std::vector<Key> keys = [] {
    std::vector<Key> all;
    for (std::span<const Key> group : {std::span<const Key>(model_keys), std::span<const Key>(data_keys),
                                       std::span<const Key>(finetuning_keys), std::span<const Key>(method_option_keys),
                                       std::span<const Key>(trainer_keys), std::span<const Key>(runtime_keys)})
      all.insert(all.end(), group.begin(), group.end());
    return all;
  }();
  return keys;
}

/// The table of keys, for --keys: name, default, and what the key means or why it has no effect or is refused.
inline std::string keys_text() {
  std::string text;
  for (const Key& key : all_keys()) {
    const std::string value = key.default_text();
    const char* status = key.status == KeyStatus::honoured   ? ""
                         : key.status == KeyStatus::accepted ? "accepted, no effect: "
                                                             : "other values are refused: ";
    text += cat(key.name, ": ", value.empty() ? "null" : value, "   # ", status, key.note, "\n");
  }
  return text;
}

}  // namespace lamina::train
