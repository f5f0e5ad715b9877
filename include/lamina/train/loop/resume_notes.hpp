#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include <lamina/core/error.hpp>
#include <lamina/io/file.hpp>
#include <lamina/io/json.hpp>
#include <lamina/io/keys/key_values.hpp>
#include <lamina/train/arguments/key_name.hpp>

namespace lamina::train {

namespace detail {

/// The same number in two spellings (1e-3, 0.001) is the same setting, and so are yes and true.
inline bool same_setting(const nlohmann::ordered_json& a, const nlohmann::ordered_json& b) {
  if (a.is_null() || b.is_null()) return a.is_null() && b.is_null();
  const std::string one = io::shown(a), other = io::shown(b);
  const auto number = io::parse_number(one), other_number = io::parse_number(other);
  if (number && other_number) return *number == *other_number;
  const auto flag = io::word_as_flag(one), other_flag = io::word_as_flag(other);
  return flag && other_flag ? *flag == *other_flag : one == other;
}

}  // namespace detail

/// One line for each setting that changes the training and that differs from those of the checkpoint. Nothing if the
/// checkpoint has no training_args.json that can be read: it may come from another program.
inline std::vector<std::string> changed_settings(const io::Settings& given, const std::filesystem::path& checkpoint) {
  const std::filesystem::path path = checkpoint / "training_args.json";
  if (!std::filesystem::exists(path)) return {};
  const auto before = io::try_parse_json<nlohmann::ordered_json>(io::read_text(path));
  if (!before.is_object()) return {};
  std::vector<std::string> lines;
  for (const std::string_view key : std::initializer_list<KeyName>{
           "learning_rate", "lr_scheduler_type", "weight_decay", "lora_alpha", "lora_dropout", "use_rslora",
           "cutoff_len", "packing", "neat_packing", "template", "dataset", "train_on_prompt"}) {
    const auto old_at = before.find(key);
    const auto now_at = given.find(key);
    const nlohmann::ordered_json old = old_at == before.end() ? nlohmann::ordered_json() : *old_at;
    const nlohmann::ordered_json now = now_at == given.end() ? nlohmann::ordered_json() : now_at->second.value;
    const auto text = [](const auto& value) { return value.is_null() ? "not set" : io::shown(value); };
    if (!detail::same_setting(old, now))
      lines.push_back(
          cat("warning: ", key, " was ", text(old), " when the checkpoint was made, this run has ", text(now)));
  }
  return lines;
}

}  // namespace lamina::train
