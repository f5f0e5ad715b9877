#pragma once
#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <lamina/checkpoint/torch_dtype.hpp>
#include <lamina/hub/keys.hpp>
#include <lamina/io/keys/key_table.hpp>
#include <lamina/merge/merge.hpp>
#include <lamina/merge/modelfile.hpp>
#include <lamina/train/arguments/key_name.hpp>

/// LLaMA-Factory's keys that its export command accepts, and what a merge makes of each.
namespace lamina::merge {

/// What the command line and its file asked for.
struct MergeArguments {
  MergeOptions options;
  std::filesystem::path adapter_folder;  ///< inside each of adapter_name_or_path
  hub::Options hub;
  std::vector<std::string> notes;  ///< one line for each key that was given and has no effect
};

using MergeKey = io::Key<MergeArguments>;

namespace detail {

using io::KeyStatus, io::KeyType, io::Setting, train::KeyName;

/// Takes a value that has to be one of a few and decides nothing.
template <const auto& Words>
void check_choice(MergeArguments&, const Setting& s, std::string_view key) {
  const std::string word = io::text_of(s, key);
  if (std::find(std::begin(Words), std::end(Words), word) == std::end(Words))
    io::wrong_value(s, key, io::listed(Words));
}
inline constexpr std::string_view stages[] = {"sft"}, devices[] = {"cpu", "auto"},
                                  finetuning_types[] = {"lora", "full", "freeze"};

/// Comes after adapter_name_or_path: of these types only lora has adapters.
inline void read_finetuning_type(MergeArguments& arguments, const Setting& s, std::string_view key) {
  check_choice<finetuning_types>(arguments, s, key);
  if (const std::string type = io::text_of(s, key); type != "lora" && !arguments.options.adapter_name_or_path.empty())
    fail("finetuning_type: ", type,
         " has no adapter, but adapter_name_or_path is set: set finetuning_type to lora, or ",
         "leave adapter_name_or_path out and give the trained model as model_name_or_path");
}

inline void read_infer_dtype(MergeArguments& arguments, const Setting& s, std::string_view key) {
  const std::string word = io::text_of(s, key);
  if (word.empty() || word == "auto") return;
  arguments.options.infer_dtype = checkpoint::dtype_from_torch_name(word);
  if (!arguments.options.infer_dtype || arguments.options.infer_dtype == DType::F64)
    io::wrong_value(s, key, "auto, bfloat16, float16 or float32");
}

inline void read_template(MergeArguments& arguments, const Setting& s, std::string_view key) {
  arguments.options.template_name = io::text_of(s, key);
  if (!arguments.options.template_name.empty()) modelfile_text(arguments.options.template_name);
}

inline constexpr std::string_view new_tokens_come_along =
    "tokens that an adapter was trained with come along with the tokenizer of its folder";
inline constexpr std::string_view upload_instead =
    "nothing is uploaded here: remove the key, and upload export_dir with the hub's own program, `hf upload OWNER/NAME "
    "EXPORT_DIR` or `modelscope upload OWNER/NAME EXPORT_DIR`";

/// A key of training, whose row there says its name and type, with what a merge makes of it: nothing.
consteval MergeKey unused(KeyName key, KeyStatus status, std::string_view inert, std::string_view note) {
  return {key, key.row().type, status, inert, note};
}

/// Keys that decide what is written, keys that are checked, and keys that would change the result in a way that is not
/// supported. Training's tables have all of them: a name that they do not know does not compile.
inline constexpr MergeKey own_keys[] = {
    io::honoured<&MergeArguments::options, &MergeOptions::model_name_or_path>(
        KeyName("model_name_or_path"), "folder of the base model (not a quantised one), or its name on a hub"),
    io::honoured<&MergeArguments::options, &MergeOptions::adapter_name_or_path>(
        KeyName("adapter_name_or_path"),
        "folder of an adapter or its name on a hub, or several separated by commas: merged in this order"),
    io::honoured<&MergeArguments::adapter_folder>(KeyName("adapter_folder"), "folder inside each of them"),
    hub::revision_key<&MergeArguments::hub>,
    hub::cache_key<&MergeArguments::hub>,
    hub::hf_token_key<&MergeArguments::hub>,
    hub::ms_token_key<&MergeArguments::hub>,
    io::honoured<&MergeArguments::options, &MergeOptions::export_dir>(KeyName("export_dir"), "folder to write to"),
    io::honoured<&MergeArguments::options, &MergeOptions::export_size>(
        KeyName("export_size"), "largest size of a weight file, in GB (10^9 bytes)")
        .within(1e-6, 1e6),
    io::honoured_by(KeyName("infer_dtype"), KeyType::text, "auto", read_infer_dtype,
                    "auto (the base's), bfloat16, float16, float32: element type written"),
    io::honoured<&MergeArguments::options, &MergeOptions::template_name>(
        KeyName("template"), "chat template for the Modelfile, such as qwen3_vl; unset: the model family's")
        .read_by(read_template),
    io::honoured_by(KeyName("export_device"), KeyType::text, "", check_choice<devices>,
                    "cpu or auto: merging runs on the CPU either way"),
    io::honoured_by(KeyName("finetuning_type"), KeyType::text, "", read_finetuning_type,
                    "lora, full or freeze: how the model was trained"),
    io::honoured_by(KeyName("stage"), KeyType::text, "", check_choice<stages>, "sft"),
    unused("export_legacy_format", KeyStatus::accepted, "false", "weights are always written as safetensors"),
    unused("export_quantization_bit", KeyStatus::refused, "", "quantising on export is not supported"),
    unused("export_quantization_dataset", KeyStatus::refused, "", "quantising on export is not supported"),
    unused("export_hub_model_id", KeyStatus::refused, "", upload_instead),
    unused("push_to_hub", KeyStatus::refused, "false", upload_instead),
    unused("quantization_bit", KeyStatus::refused, "", "an adapter is merged into the unquantised base"),
    unused("resize_vocab", KeyStatus::accepted, "false", new_tokens_come_along),
    unused("add_tokens", KeyStatus::accepted, "", new_tokens_come_along),
    unused("add_special_tokens", KeyStatus::accepted, "", new_tokens_come_along),
    unused("new_special_tokens_config", KeyStatus::accepted, "", new_tokens_come_along),
    unused("rope_scaling", KeyStatus::refused, "", "changing the rotary embedding is not supported"),
    unused("mixture_of_depths", KeyStatus::refused, "", "mixture of depths is not supported"),
    unused("train_from_scratch", KeyStatus::refused, "false", "a merge needs trained weights"),
    unused("use_llama_pro", KeyStatus::refused, "false", "LLaMA-Pro is not supported"),
};

}  // namespace detail

/// Every key, in the order of --help: those above, and LLaMA-Factory's other keys of models, data and finetuning, which
/// its export command takes and which mean nothing to a merge. No name occurs twice.
inline std::span<const MergeKey> all_keys() {
  static const std::vector<MergeKey> keys = [] {
    std::vector<MergeKey> all(std::begin(detail::own_keys), std::end(detail::own_keys));
    const auto is_there = [&](const io::KeyRow& row) {
      return std::any_of(all.begin(), all.end(), [&](const MergeKey& key) { return key.name == row.name; });
    };
    for (const std::span<const train::TrainKey> group :
         {std::span<const train::TrainKey>(train::model_keys), std::span<const train::TrainKey>(train::data_keys),
          std::span<const train::TrainKey>(train::finetuning_keys),
          std::span<const train::TrainKey>(train::method_option_keys)})
      for (const train::TrainKey& key : group)
        if (!is_there(key))
          all.push_back(
              MergeKey(key.name, io::KeyType::object, io::KeyStatus::accepted, "", "it means nothing to a merge")
                  .or_bare());
    return all;
  }();
  return keys;
}

}  // namespace lamina::merge
