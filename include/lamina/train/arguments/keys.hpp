#pragma once
#include <span>
#include <string_view>
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

}  // namespace lamina::train
