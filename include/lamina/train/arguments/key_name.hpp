#pragma once
#include <span>
#include <string_view>

#include <lamina/train/arguments/keys_data.hpp>
#include <lamina/train/arguments/keys_finetuning.hpp>
#include <lamina/train/arguments/keys_model.hpp>
#include <lamina/train/arguments/keys_trainer.hpp>

namespace lamina::train {

/// The name of a key of the tables, where code speaks of it: a misspelt one does not compile.
class KeyName {
 public:
  consteval KeyName(const char* name) {
    for (const std::span<const TrainKey> table : tables)
      for (const TrainKey& key : table)
        if (key.name == name) row_ = &key;
    if (!row_) throw "no table of keys has this name";
  }
  constexpr operator std::string_view() const { return row_->name; }
  constexpr const TrainKey& row() const { return *row_; }

 private:
  static constexpr std::span<const TrainKey> tables[] = {model_keys,         data_keys,    finetuning_keys,
                                                         method_option_keys, trainer_keys, runtime_keys};
  const TrainKey* row_ = nullptr;
};

/// What a key was given, null too; nullptr if it was not given.
inline const io::Setting* setting_of(const Arguments& a, KeyName key) {
  const auto at = a.given.find(std::string_view(key));
  return at == a.given.end() ? nullptr : &at->second;
}
/// Whether a key was given a value.
inline bool has_value(const Arguments& a, KeyName key) {
  const io::Setting* setting = setting_of(a, key);
  return setting && !setting->value.is_null();
}

}  // namespace lamina::train
