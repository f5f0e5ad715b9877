#pragma once
#include <lamina/io/keys/field_table.hpp>

namespace lamina::checkpoint {
using io::Field, io::FieldUse;

namespace detail {
inline constexpr std::string_view has_to_fit = "has to fit the adapter's tensors";
inline constexpr std::string_view of_a_fresh_adapter = "it belongs to the first values of a fresh adapter";
inline constexpr std::string_view variant = "this variant of LoRA is not supported";
}  // namespace detail

/// What becomes of each field of adapter_config.json. Source: PEFT 0.18, LoraConfig.
inline constexpr Field adapter_fields[] = {
    {"peft_type", FieldUse::used, "LORA alone is supported"},
    {"r", FieldUse::used},
    {"lora_alpha", FieldUse::used},
    {"lora_dropout", FieldUse::used, "by training that goes on"},
    {"use_rslora", FieldUse::used},
    {"use_dora", FieldUse::used},
    {"bias", FieldUse::used, detail::has_to_fit},
    {"rank_pattern", FieldUse::used},
    {"alpha_pattern", FieldUse::used},
    {"init_lora_weights", FieldUse::used, "ways that change the base model are refused"},
    {"base_model_name_or_path", FieldUse::used, "for messages"},
    {"task_type", FieldUse::used, "kept by training that goes on"},
    {"target_modules", FieldUse::used, detail::has_to_fit},
    {"modules_to_save", FieldUse::used, detail::has_to_fit},
    {"ensure_weight_tying", FieldUse::used, "kept by training that goes on; a head that is tied stays tied anyway"},
    {"exclude_modules", FieldUse::used, detail::has_to_fit},
    {"layers_to_transform", FieldUse::used, detail::has_to_fit},
    {"layers_pattern", FieldUse::used, detail::has_to_fit},
    {"inference_mode", FieldUse::no_effect, "the program decides"},
    {"auto_mapping", FieldUse::no_effect, "no code of an adapter's folder is run"},
    {"revision", FieldUse::no_effect, "models are read from folders"},
    {"peft_version", FieldUse::no_effect, "it tells people where the file comes from"},
    {"runtime_config", FieldUse::no_effect, "it belongs to PEFT's own process"},
    {"megatron_core", FieldUse::no_effect, "it belongs to megatron_config"},
    {"qalora_group_size", FieldUse::no_effect, "it belongs to use_qalora"},
    {"loftq_config", FieldUse::no_effect, detail::of_a_fresh_adapter},
    {"eva_config", FieldUse::no_effect, detail::of_a_fresh_adapter},
    {"corda_config", FieldUse::no_effect, detail::of_a_fresh_adapter},
    {"lora_ga_config", FieldUse::no_effect, detail::of_a_fresh_adapter},
    {"fan_in_fan_out", FieldUse::refused, "it belongs to layers that store their weight transposed", "[false]"},
    {"layer_replication", FieldUse::refused, detail::variant, "[]"},
    {"trainable_token_indices", FieldUse::refused, detail::variant, "[]"},
    {"target_parameters", FieldUse::refused, detail::variant, "[]"},
    {"alora_invocation_tokens", FieldUse::refused, detail::variant, "[]"},
    {"megatron_config", FieldUse::refused, detail::variant, "[]"},
    {"arrow_config", FieldUse::refused, detail::variant, "[]"},
    {"lora_bias", FieldUse::refused, detail::variant, "[false]"},
    {"use_qalora", FieldUse::refused, detail::variant, "[false]"},
    {"use_bdlora", FieldUse::refused, detail::variant, "[false]"},
};

}  // namespace lamina::checkpoint
