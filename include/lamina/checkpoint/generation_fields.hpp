#pragma once
#include <lamina/io/keys/field_table.hpp>

namespace lamina::checkpoint {
using io::Field, io::FieldUse;

namespace detail {
inline constexpr std::string_view as_in_vllm = "as in vLLM, requests ask for it if at all";
inline constexpr std::string_view python_only = "it shapes how a Python program runs generate()";
}  // namespace detail

/// What becomes of each field of generation_config.json in the server and in the chat. vLLM takes its defaults from the
/// same few fields; of the others, those that would change an answer in transformers get a note unless they are
/// neutral. Source: transformers 5.6 and 4.57, GenerationConfig; vLLM, ModelConfig.get_diff_sampling_param.
inline constexpr Field generation_fields[] = {
    {"temperature", FieldUse::used},
    {"top_p", FieldUse::used},
    {"top_k", FieldUse::used},
    {"min_p", FieldUse::used},
    {"repetition_penalty", FieldUse::used},
    {"presence_penalty", FieldUse::used},
    {"frequency_penalty", FieldUse::used},
    {"max_new_tokens", FieldUse::used},
    {"eos_token_id", FieldUse::used, "each of them ends an answer"},
    {"do_sample", FieldUse::no_effect, "as in vLLM, temperature decides; 0 is greedy", "[true, false]"},
    {"bos_token_id", FieldUse::no_effect, "no token is put before a text"},
    {"pad_token_id", FieldUse::no_effect, "nothing is padded"},
    {"decoder_start_token_id", FieldUse::no_effect, "it belongs to encoder-decoder models"},
    {"max_length", FieldUse::no_effect, "as in vLLM, max_new_tokens and the context bound an answer", "[20]"},
    {"min_length", FieldUse::no_effect, detail::as_in_vllm, "[0]"},
    {"min_new_tokens", FieldUse::no_effect, detail::as_in_vllm, "[0]"},
    {"early_stopping", FieldUse::no_effect, "it belongs to num_beams"},
    {"max_time", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"stop_strings", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"num_beams", FieldUse::no_effect, "beam search is not built", "[1]"},
    {"num_beam_groups", FieldUse::no_effect, "beam search is not built", "[1]"},
    {"num_return_sequences", FieldUse::no_effect, detail::as_in_vllm, "[1]"},
    {"length_penalty", FieldUse::no_effect, "it belongs to num_beams"},
    {"diversity_penalty", FieldUse::no_effect, "it belongs to num_beam_groups"},
    {"constraints", FieldUse::no_effect, "beam search is not built", "[]"},
    {"force_words_ids", FieldUse::no_effect, "beam search is not built", "[]"},
    {"top_h", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"typical_p", FieldUse::no_effect, detail::as_in_vllm, "[1]"},
    {"epsilon_cutoff", FieldUse::no_effect, detail::as_in_vllm, "[0]"},
    {"eta_cutoff", FieldUse::no_effect, detail::as_in_vllm, "[0]"},
    {"encoder_repetition_penalty", FieldUse::no_effect, detail::as_in_vllm, "[1]"},
    {"no_repeat_ngram_size", FieldUse::no_effect, detail::as_in_vllm, "[0]"},
    {"encoder_no_repeat_ngram_size", FieldUse::no_effect, detail::as_in_vllm, "[0]"},
    {"bad_words_ids", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"forced_bos_token_id", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"forced_eos_token_id", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"suppress_tokens", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"begin_suppress_tokens", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"sequence_bias", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"exponential_decay_length_penalty", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"guidance_scale", FieldUse::no_effect, detail::as_in_vllm, "[1]"},
    {"penalty_alpha", FieldUse::no_effect, detail::as_in_vllm, "[0]"},
    {"dola_layers", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"watermarking_config", FieldUse::no_effect, detail::as_in_vllm, "[]"},
    {"token_healing", FieldUse::no_effect, detail::as_in_vllm, "[false]"},
    {"remove_invalid_values", FieldUse::no_effect, "a value that is not finite is an error"},
    {"renormalize_logits", FieldUse::no_effect, "probabilities are always normalised"},
    {"use_cache", FieldUse::no_effect, detail::python_only},
    {"cache_implementation", FieldUse::no_effect, detail::python_only},
    {"cache_config", FieldUse::no_effect, detail::python_only},
    {"return_legacy_cache", FieldUse::no_effect, detail::python_only},
    {"output_attentions", FieldUse::no_effect, detail::python_only},
    {"output_hidden_states", FieldUse::no_effect, detail::python_only},
    {"output_scores", FieldUse::no_effect, detail::python_only},
    {"output_logits", FieldUse::no_effect, detail::python_only},
    {"return_dict_in_generate", FieldUse::no_effect, detail::python_only},
    {"is_assistant", FieldUse::no_effect, detail::python_only},
    {"num_assistant_tokens", FieldUse::no_effect, detail::python_only},
    {"num_assistant_tokens_schedule", FieldUse::no_effect, detail::python_only},
    {"assistant_confidence_threshold", FieldUse::no_effect, detail::python_only},
    {"assistant_early_exit", FieldUse::no_effect, detail::python_only},
    {"assistant_lookbehind", FieldUse::no_effect, detail::python_only},
    {"target_lookbehind", FieldUse::no_effect, detail::python_only},
    {"prompt_lookup_num_tokens", FieldUse::no_effect, detail::python_only},
    {"max_matching_ngram_size", FieldUse::no_effect, detail::python_only},
    {"compile_config", FieldUse::no_effect, detail::python_only},
    {"disable_compile", FieldUse::no_effect, detail::python_only},
    {"continuous_batching_config", FieldUse::no_effect, detail::python_only},
    {"prefill_chunk_size", FieldUse::no_effect, detail::python_only},
    {"low_memory", FieldUse::no_effect, detail::python_only},
    {"generation_kwargs", FieldUse::no_effect, detail::python_only},
    {"_from_model_config", FieldUse::no_effect, detail::python_only},
    {"chat_format", FieldUse::no_effect, "the model family decides"},
    {"transformers_version", FieldUse::no_effect, "it tells people where the file comes from"},
};

}  // namespace lamina::checkpoint
