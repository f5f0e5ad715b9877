#pragma once
#include <lamina/io/keys/field_table.hpp>
#include <lamina/model/family.hpp>

/// What becomes of each field of config.json. Sources: transformers' configuration classes (5.6 and 4.57) and the
/// released files; tests/reference/config_fields.py lists them again.
namespace lamina {

namespace detail {
using io::Field, io::find_field, io::joined;
using enum io::FieldUse;

inline constexpr std::string_view for_people = "it tells people and loaders where the file comes from";
inline constexpr std::string_view not_read = "transformers' Qwen-VL models do not read it";
inline constexpr std::string_view sampling = "sampling is read from generation_config.json";
inline constexpr std::string_view top_level = "the top level's own counts";
inline constexpr std::string_view other_architecture = "it belongs to another architecture";

/// Every config object of transformers may hold these.
inline constexpr Field common_fields[] = {
    {"dtype", used, "the element type of merged weights"},
    {"torch_dtype", used, "older name of dtype"},
    {"model_type", no_effect, "the one at the top level chooses the model family"},
    {"architectures", no_effect, for_people},
    {"_name_or_path", no_effect, for_people},
    {"_commit_hash", no_effect, for_people},
    {"name_or_path", no_effect, for_people},
    {"transformers_version", no_effect, for_people},
    {"auto_map", no_effect, "no code of a model folder is run"},
    {"id2label", no_effect, not_read},
    {"label2id", no_effect, not_read},
    {"problem_type", no_effect, not_read},
    {"finetuning_task", no_effect, not_read},
    {"task_specific_params", no_effect, not_read},
    {"is_encoder_decoder", refused, other_architecture, "[false]"},
    {"is_decoder", no_effect, not_read},
    {"add_cross_attention", refused, other_architecture, "[false]"},
    {"cross_attention_hidden_size", refused, other_architecture, "[]"},
    {"tie_encoder_decoder", refused, other_architecture, "[false]"},
    {"pruned_heads", refused, "pruned heads are not supported", "[]"},
    {"chunk_size_feed_forward", no_effect, not_read},
    {"tokenizer_class", no_effect, "the tokenizer's own files say what it is"},
    {"prefix", no_effect, not_read},
    {"sep_token_id", no_effect, not_read},
    {"decoder_start_token_id", no_effect, not_read},
    {"torchscript", no_effect, for_people},
    {"tf_legacy_loss", no_effect, not_read},
    {"use_bfloat16", no_effect, not_read},
    {"use_cache", no_effect, "generation keeps keys and values, training does not"},
    {"return_dict", no_effect, "it shapes what Python functions return"},
    {"output_attentions", no_effect, "it shapes what Python functions return"},
    {"output_hidden_states", no_effect, "it shapes what Python functions return"},
    {"attn_implementation", no_effect, "kernels are chosen by the device"},
    {"_attn_implementation", no_effect, "kernels are chosen by the device"},
    {"_attn_implementation_autoset", no_effect, "kernels are chosen by the device"},
    {"use_flash_attn", no_effect, "kernels are chosen by the device"},
    {"initializer_range", no_effect, "every weight is read from the checkpoint"},
    {"tie_word_embeddings", no_effect, "it belongs to the language model"},
    {"bos_token_id", no_effect, "no token is put before a text"},
    {"eos_token_id", no_effect, "it belongs to the language model"},
    {"pad_token_id", no_effect, "nothing is padded"},
};

/// Older files keep generate()'s settings here; transformers moves them to generation_config.json.
inline constexpr Field sampling_fields[] = {
    {"max_length", no_effect, sampling},
    {"min_length", no_effect, sampling},
    {"do_sample", no_effect, sampling},
    {"early_stopping", no_effect, sampling},
    {"num_beams", no_effect, sampling},
    {"num_beam_groups", no_effect, sampling},
    {"diversity_penalty", no_effect, sampling},
    {"temperature", no_effect, sampling},
    {"top_k", no_effect, sampling},
    {"top_p", no_effect, sampling},
    {"typical_p", no_effect, sampling},
    {"repetition_penalty", no_effect, sampling},
    {"length_penalty", no_effect, sampling},
    {"no_repeat_ngram_size", no_effect, sampling},
    {"encoder_no_repeat_ngram_size", no_effect, sampling},
    {"bad_words_ids", no_effect, sampling},
    {"num_return_sequences", no_effect, sampling},
    {"output_scores", no_effect, sampling},
    {"return_dict_in_generate", no_effect, sampling},
    {"forced_bos_token_id", no_effect, sampling},
    {"forced_eos_token_id", no_effect, sampling},
    {"remove_invalid_values", no_effect, sampling},
    {"exponential_decay_length_penalty", no_effect, sampling},
    {"suppress_tokens", no_effect, sampling},
    {"begin_suppress_tokens", no_effect, sampling},
};

/// Fields with which sibling families change the arithmetic of the same layers. The classes of these families do not
/// read them: with another value than the neutral one, the file describes another model.
inline constexpr Field sibling_fields[] = {
    {"partial_rotary_factor", refused, other_architecture, "[1]"},
    {"attn_output_gate", refused, other_architecture, "[false]"},
    {"mlp_bias", refused, other_architecture, "[false]"},
    {"num_experts", refused, "this family's layers have one MLP", "[0]"},
    {"num_local_experts", refused, "this family's layers have one MLP", "[0]"},
    {"attn_logit_softcapping", refused, other_architecture, "[]"},
    {"final_logit_softcapping", refused, other_architecture, "[]"},
    {"logits_scaling", refused, other_architecture, "[1]"},
    {"embedding_multiplier", refused, other_architecture, "[1]"},
    {"residual_multiplier", refused, other_architecture, "[1]"},
    {"attention_multiplier", refused, other_architecture, "[]"},
};

inline constexpr Field model_fields[] = {
    {"model_type", used, "the model family"},
    {"text_config", used, "the language model"},
    {"vision_config", used, "the vision tower"},
    {"tie_word_embeddings", fact, "with the weights: tied_head()"},
    {"image_token_id", used, "where images go"},
    {"video_token_id", used, "where videos go"},
    {"vision_start_token_id", used, "what the tokenizer has to say too"},
    {"vision_end_token_id", used, "what the tokenizer has to say too"},
    {"vision_token_id", no_effect, not_read},
    {"quantization_config", used, "how the weights are quantised"},
    {"eos_token_id", used, "ends an answer if generation_config.json names none"},
};

inline constexpr Field text_fields[] = {
    {"vocab_size", fact},
    {"hidden_size", fact},
    {"intermediate_size", fact},
    {"num_hidden_layers", fact},
    {"num_attention_heads", fact},
    {"num_key_value_heads", fact},
    {"hidden_act", fact},
    {"rms_norm_eps", fact},
    {"rope_theta", fact},
    {"rope_scaling", used, "the older name of rope_parameters"},
    {"rope_parameters", used, "rotary positions"},
    {"tie_word_embeddings", fact},
    {"max_position_embeddings", used, "the longest context that is served"},
    {"attention_dropout", refused, "dropout inside attention is not built", "[0]"},
    {"use_sliding_window", used, "whether layers attend in a window; refused where the family's do not"},
    {"sliding_window", used, "the window, with use_sliding_window"},
    {"max_window_layers", used, "full layers before the others, with use_sliding_window and without layer_types"},
    {"eos_token_id", used, "ends an answer if generation_config.json names none"},
    // transformers 4.52 saved copies of these here
    {"image_token_id", no_effect, top_level},
    {"video_token_id", no_effect, top_level},
    {"vision_start_token_id", no_effect, top_level},
    {"vision_end_token_id", no_effect, top_level},
    {"vision_token_id", no_effect, top_level},
};
inline constexpr Field rope_fields[] = {
    {"rope_theta", fact},
    {"mrope_section", fact},
    {"mrope_interleaved", fact},
    {"rope_type", refused, "only plain multimodal RoPE is supported", R"(["default", "mrope"])"},
    {"type", refused, "only plain multimodal RoPE is supported", R"(["default", "mrope"])"},
    {"partial_rotary_factor", refused, other_architecture, "[1]"},
};

inline constexpr Field vision_fields[] = {
    {"depth", fact},      {"hidden_size", fact},         {"intermediate_size", fact},
    {"num_heads", fact},  {"out_hidden_size", fact},     {"in_channels", fact},
    {"patch_size", fact}, {"temporal_patch_size", fact}, {"spatial_merge_size", fact},
    {"hidden_act", fact},
};

}  // namespace detail

inline std::vector<io::Field> fields_of_text_config(const ConfigFormat& own) {
  using namespace detail;
  return joined({text_fields, own.text_fields, common_fields, sampling_fields, sibling_fields});
}
inline std::vector<io::Field> fields_of_vision_config(const ConfigFormat& own) {
  using namespace detail;
  return joined({vision_fields, own.vision_fields, common_fields, sampling_fields, sibling_fields});
}
/// rope_parameters, or rope_scaling.
inline std::vector<io::Field> fields_of_rope() { return io::joined({detail::rope_fields}); }
/// config.json's own level. nested: text fields have a text_config of their own, and copies of them here are not read.
inline std::vector<io::Field> fields_of_model_config(const ConfigFormat& format, bool nested) {
  using namespace detail;
  std::vector<io::Field> own = joined({model_fields, common_fields, sampling_fields});
  for (io::Field field : fields_of_text_config(format)) {
    if (find_field(own, field.name)) continue;
    if (nested) field = {field.name, no_effect, "text_config's own counts"};
    own.push_back(field);
  }
  return own;
}

}  // namespace lamina
