#pragma once
#include <string_view>

#include <lamina/train/arguments/keys_data.hpp>
#include <lamina/train/arguments/keys_finetuning.hpp>
#include <lamina/train/arguments/keys_model.hpp>
#include <lamina/train/arguments/keys_trainer.hpp>

namespace lamina::train {

/// The name of a key of the tables, where code speaks of it: a misspelt one does not compile.
class KeyName {
 public:
  consteval KeyName(const char* name) : name_(name) {
    if (!in(model_keys) && !in(data_keys) && !in(finetuning_keys) && !in(method_option_keys) && !in(trainer_keys) &&
        !in(runtime_keys))
      throw "no table of keys has this name";
  }
  constexpr operator std::string_view() const { return name_; }

 private:
  constexpr bool in(const auto& keys) const {
    for (const TrainKey& key : keys)
      if (key.name == name_) return true;
    return false;
  }
  std::string_view name_;
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
