#pragma once
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

using io::KeyStatus, io::KeyType, io::Setting;

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

inline constexpr std::string_view upload_instead =
    "nothing is uploaded here: remove the key, and upload export_dir with the hub's own program, `hf upload OWNER/NAME "
    "EXPORT_DIR` or `modelscope upload OWNER/NAME EXPORT_DIR`";

/// Keys that decide what is written, keys that are checked, and keys that would change the result in a way that is not
/// supported.
inline constexpr MergeKey own_keys[] = {
    io::honoured<&MergeArguments::options, &MergeOptions::model_name_or_path>(
        "model_name_or_path", "folder of the base model (not a quantised one), or its name on a hub"),
    io::honoured<&MergeArguments::options, &MergeOptions::adapter_name_or_path>(
        "adapter_name_or_path",
        "folder of an adapter or its name on a hub, or several separated by commas: merged in this order"),
    io::honoured<&MergeArguments::adapter_folder>("adapter_folder", "folder inside each of them"),
    hub::revision_key<&MergeArguments::hub>,
    hub::cache_key<&MergeArguments::hub>,
    hub::hf_token_key<&MergeArguments::hub>,
    hub::ms_token_key<&MergeArguments::hub>,
    io::honoured<&MergeArguments::options, &MergeOptions::export_dir>("export_dir", "folder to write to"),
    io::honoured<&MergeArguments::options, &MergeOptions::export_size>(
        "export_size", "largest size of a weight file, in GB (10^9 bytes)")
        .within(1e-6, 1e6),
    io::honoured_by("infer_dtype", KeyType::text, "auto", read_infer_dtype,
                    "auto (the base's), bfloat16, float16, float32: element type written"),
    io::honoured<&MergeArguments::options, &MergeOptions::template_name>(
        "template", "qwen3_vl, qwen3_vl_nothink, qwen2_vl: for the Modelfile; unset: the model family's")
        .read_by(read_template),
    io::honoured_by("export_device", KeyType::text, "", check_choice<devices>,
                    "cpu or auto: merging runs on the CPU either way"),
    io::honoured_by("finetuning_type", KeyType::text, "", read_finetuning_type,
                    "lora, full or freeze: how the model was trained"),
    io::honoured_by("stage", KeyType::text, "", check_choice<stages>, "sft"),
    {"export_legacy_format", KeyType::flag, KeyStatus::accepted, "false", "weights are always written as safetensors"},
    {"export_quantization_bit", KeyType::integer, KeyStatus::refused, "", "quantising on export is not supported"},
    {"export_quantization_dataset", KeyType::text, KeyStatus::refused, "", "quantising on export is not supported"},
    {"export_hub_model_id", KeyType::text, KeyStatus::refused, "", upload_instead},
    {"push_to_hub", KeyType::flag, KeyStatus::refused, "false", upload_instead},
    {"quantization_bit", KeyType::integer, KeyStatus::refused, "", "an adapter is merged into the unquantised base"},
    {"resize_vocab", KeyType::flag, KeyStatus::refused, "false", "adding tokens is not supported"},
    {"add_tokens", KeyType::list, KeyStatus::refused, "", "adding tokens is not supported"},
    {"add_special_tokens", KeyType::list, KeyStatus::refused, "", "adding tokens is not supported"},
    {"new_special_tokens_config", KeyType::text, KeyStatus::refused, "", "adding tokens is not supported"},
    {"rope_scaling", KeyType::text, KeyStatus::refused, "", "changing the rotary embedding is not supported"},
    {"mixture_of_depths", KeyType::text, KeyStatus::refused, "", "mixture of depths is not supported"},
    {"train_from_scratch", KeyType::flag, KeyStatus::refused, "false", "a merge needs trained weights"},
    {"use_llama_pro", KeyType::flag, KeyStatus::refused, "false", "LLaMA-Pro is not supported"},
};

/// Keys that mean something to a Python program, to training or to generation, and nothing to a merge.
inline constexpr std::string_view names_without_effect[] = {
    "trust_remote_code",
    "use_fast_tokenizer",
    "low_cpu_mem_usage",
    "offload_folder",
    "om_hub_token",
    "split_special_tokens",
    "init_special_tokens",
    "flash_attn",
    "shift_attn",
    "use_unsloth",
    "use_unsloth_gc",
    "enable_liger_kernel",
    "moe_aux_loss_coef",
    "disable_gradient_checkpointing",
    "use_reentrant_gc",
    "upcast_layernorm",
    "upcast_lmhead_output",
    "print_param_status",
    "infer_backend",
    "use_kv_cache",
    "quantization_method",
    "quantization_type",
    "double_quantization",
    "quantization_device_map",
    "image_max_pixels",
    "image_min_pixels",
    "image_do_pan_and_scan",
    "crop_to_patches",
    "video_max_pixels",
    "video_min_pixels",
    "video_fps",
    "video_maxlen",
    "use_audio_in_video",
    "audio_sampling_rate",
    "export_quantization_nsamples",
    "export_quantization_maxlen",
    "vllm_maxlen",
    "vllm_gpu_util",
    "vllm_enforce_eager",
    "vllm_max_lora_rank",
    "vllm_config",
    "sglang_maxlen",
    "sglang_mem_fraction",
    "sglang_tp_size",
    "sglang_config",
    "sglang_lora_backend",
    "dataset",
    "eval_dataset",
    "dataset_dir",
    "media_dir",
    "cutoff_len",
    "train_on_prompt",
    "mask_history",
    "max_samples",
    "val_size",
    "eval_on_each_dataset",
    "mix_strategy",
    "interleave_probs",
    "overwrite_cache",
    "preprocessing_batch_size",
    "preprocessing_num_workers",
    "streaming",
    "buffer_size",
    "packing",
    "neat_packing",
    "tool_format",
    "default_system",
    "enable_thinking",
    "preserve_thinking",
    "ignore_pad_token_for_loss",
    "eval_num_beams",
    "tokenized_path",
    "data_shared_file_system",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "lora_target",
    "additional_target",
    "loraplus_lr_ratio",
    "loraplus_lr_embedding",
    "use_rslora",
    "use_dora",
    "pissa_init",
    "pissa_iter",
    "pissa_convert",
    "create_new_adapter",
    "freeze_vision_tower",
    "freeze_multi_modal_projector",
    "freeze_language_model",
    "freeze_trainable_layers",
    "freeze_trainable_modules",
    "freeze_extra_modules",
    "pure_bf16",
    "plot_loss",
    "compute_accuracy",
    "disable_shuffling",
    "early_stopping_steps",
    "include_effective_tokens_per_second",
    "do_sample",
    "temperature",
    "top_p",
    "top_k",
    "num_beams",
    "max_length",
    "max_new_tokens",
    "repetition_penalty",
    "length_penalty",
    "skip_special_tokens",
};

}  // namespace detail

/// Every key, in the order of --help. No name occurs twice.
inline std::span<const MergeKey> all_keys() {
  static const std::vector<MergeKey> keys = [] {
    std::vector<MergeKey> all(std::begin(detail::own_keys), std::end(detail::own_keys));
    for (const std::string_view name : detail::names_without_effect)
      all.push_back(
          MergeKey(name, io::KeyType::object, io::KeyStatus::accepted, "", "it means nothing to a merge").or_bare());
    return all;
  }();
  return keys;
}

}  // namespace lamina::merge
