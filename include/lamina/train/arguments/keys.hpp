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
inline std::span<const TrainKey> all_keys() {
  static const std::vector<TrainKey> keys = [] {
    std::vector<TrainKey> all;
    for (std::span<const TrainKey> group :
         {std::span<const TrainKey>(model_keys), std::span<const TrainKey>(data_keys),
          std::span<const TrainKey>(finetuning_keys), std::span<const TrainKey>(method_option_keys),
          std::span<const TrainKey>(trainer_keys), std::span<const TrainKey>(runtime_keys)})
      all.insert(all.end(), group.begin(), group.end());
    return all;
  }();
  return keys;
}

/// The table of keys, for --keys: name, default, and what the key means or why it has no effect or is refused.
inline std::string keys_text() {
  std::string text;
  for (const TrainKey& key : all_keys()) {
    const std::string value = key.default_text();
    const char* status = key.status == KeyStatus::honoured   ? ""
                         : key.status == KeyStatus::accepted ? "accepted, no effect: "
                                                             : "other values are refused: ";
    text += cat(key.name, ": ", value.empty() ? "null" : value, "   # ", status, key.note, "\n");
  }
  return text;
}

}  // namespace lamina::train
