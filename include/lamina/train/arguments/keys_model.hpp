#pragma once
#include <lamina/hub/keys.hpp>
#include <lamina/train/arguments/readers.hpp>
#include <lamina/vision/pixels.hpp>

namespace lamina::train {

/// Model, processor, export and generation keys (LLaMA-Factory's model_args.py and generating_args.py).
inline constexpr TrainKey model_keys[] = {
    honoured<&Arguments::model_name_or_path>("model_name_or_path", "folder of the base model, or its name on a hub"),
    honoured<&Arguments::adapter_name_or_path>(
        "adapter_name_or_path", "folders of adapters: the last one goes on training, those before it are folded in"),
    honoured<&Arguments::adapter_folder>("adapter_folder", "folder inside each of them"),
    hub::cache_key<&Arguments::hub>,
    hub::revision_key<&Arguments::hub>,
    hub::hf_token_key<&Arguments::hub>,
    hub::ms_token_key<&Arguments::hub>,
    {"om_hub_token", KeyType::text, KeyStatus::accepted, "", "nothing is fetched from this hub"},
    {"trust_remote_code", KeyType::flag, KeyStatus::accepted, "false", "no code is ever run from a model directory"},
    {"use_fast_tokenizer", KeyType::flag, KeyStatus::accepted, "true",
     "there is one tokenizer, and one image processor, which computes what the fast one does"},
    honoured<&Arguments::resize_vocab>(
        "resize_vocab", "train embedding and output head whole next to adapters; new tokens switch it on"),
    honoured<&Arguments::add_tokens>("add_tokens", "words that become tokens, in rows that the embedding has to spare"),
    honoured<&Arguments::add_special_tokens>("add_special_tokens", "the same for control tokens"),
    honoured<&Arguments::new_special_tokens_config>("new_special_tokens_config",
                                                    "a YAML file whose keys are add_special_tokens"),
    {"init_special_tokens", KeyType::text, KeyStatus::accepted, "noise_init",
     "new tokens take rows that the model has, which keep their values, as in LLaMA-Factory"},
    {"split_special_tokens", KeyType::flag, KeyStatus::refused, "false",
     "control tokens in the templates are always recognised"},
    {"low_cpu_mem_usage", KeyType::flag, KeyStatus::accepted, "true", "weights are always read tensor by tensor"},
    {"offload_folder", KeyType::text, KeyStatus::accepted, "offload", "weights are not offloaded"},
    {"rope_scaling", KeyType::text, KeyStatus::accepted, "",
     "positions are those that config.json's rope_scaling describes; LLaMA-Factory too leaves those of vision-language "
     "models as they are"},
    {"flash_attn", KeyType::text, KeyStatus::accepted, "auto",
     "the backend has one exact attention for packed sequences"},
    {"shift_attn", KeyType::flag, KeyStatus::refused, "false", "shifted sparse attention is not built"},
    {"mixture_of_depths", KeyType::text, KeyStatus::refused, "", "mixture of depths is not built"},
    {"use_unsloth", KeyType::flag, KeyStatus::accepted, "false", "the kernels are lamina's own"},
    {"use_unsloth_gc", KeyType::flag, KeyStatus::accepted, "false",
     "inputs of layers stay on the device; disable_gradient_checkpointing says whether layers are computed again"},
    {"enable_liger_kernel", KeyType::flag, KeyStatus::accepted, "false",
     "the head and the cross-entropy are always fused"},
    honoured<&Arguments::moe_aux_loss_coef>(
        "moe_aux_loss_coef", "weight of the loss that balances the experts of a mixture; the log has it as aux_loss")
        .in(io::at_least(0)),
    honoured<&Arguments::disable_gradient_checkpointing>(
        "disable_gradient_checkpointing",
        "keep all activations instead of computing them again in backward; unset: as memory allows"),
    {"use_reentrant_gc", KeyType::flag, KeyStatus::accepted, "true", "recomputation has one form"},
    {"upcast_layernorm", KeyType::flag, KeyStatus::accepted, "false", "norms are always computed in fp32"},
    {"upcast_lmhead_output", KeyType::flag, KeyStatus::accepted, "false", "logits are always fp32"},
    {"train_from_scratch", KeyType::flag, KeyStatus::refused, "false", "training starts from a checkpoint"},
    honoured<&Arguments::print_param_status>("print_param_status", "list each tensor and whether it is trained"),
    {"infer_backend", KeyType::text, KeyStatus::accepted, "huggingface", "lamina generates by itself"},
    {"infer_dtype", KeyType::text, KeyStatus::accepted, "auto",
     "a GPU computes in bf16, the CPU in fp32; lamina-serve --dtype and lamina-merge have a choice"},
    {"use_kv_cache", KeyType::flag, KeyStatus::accepted, "true",
     "answers are always drawn with a KV cache; training has none"},
    {"use_v1_kernels", KeyType::flag, KeyStatus::accepted, "false", "the kernels are lamina's own"},
    honoured<&Arguments::quantization, &QuantizationOptions::method>(
        "quantization_method", "bnb, as bitsandbytes stores them; hqq and eetq are not built"),
    honoured<&Arguments::quantization, &QuantizationOptions::bit>(
        "quantization_bit",
        "4 or 8: the decoder's frozen matrices are stored so, with finetuning_type: lora; of 8, activations stay "
        "whole"),
    honoured<&Arguments::quantization, &QuantizationOptions::type>("quantization_type",
                                                                   "nf4 or fp4, of quantization_bit: 4"),
    honoured<&Arguments::quantization, &QuantizationOptions::double_quantization>(
        "double_quantization", "store the scales of quantization_bit: 4 in 8 bits"),
    {"quantization_device_map", KeyType::text, KeyStatus::accepted, "", "a process computes on one device"},
    honoured<&Arguments::image_max_pixels>("image_max_pixels", "larger images are scaled down to it")
        .in(io::at_least(1)),
    honoured<&Arguments::image_min_pixels>("image_min_pixels", "smaller images are scaled up to it")
        .within(1, vision::max_image_pixels),
    honoured<&Arguments::video_max_pixels>("video_max_pixels", "larger frames of videos are scaled down to it")
        .in(io::at_least(1)),
    honoured<&Arguments::video_min_pixels>("video_min_pixels", "smaller frames of videos are scaled up to it")
        .within(1, vision::max_image_pixels),
    honoured<&Arguments::video_fps>("video_fps", "frames per second of a video that are seen").in(io::positive),
    honoured<&Arguments::video_maxlen>("video_maxlen", "frames of a video that are seen at most, spread over all of it")
        .in(io::at_least(1)),
    {"use_audio_in_video", KeyType::flag, KeyStatus::refused, "false", "there is no audio input"},
    {"audio_sampling_rate", KeyType::integer, KeyStatus::accepted, "16000", "there is no audio input"},
    {"image_do_pan_and_scan", KeyType::flag, KeyStatus::refused, "false", "it belongs to other model families"},
    {"crop_to_patches", KeyType::flag, KeyStatus::refused, "false", "it belongs to other model families"},
    {"export_dir", KeyType::text, KeyStatus::accepted, "", "merging reads it: lamina-merge"},
    {"export_size", KeyType::integer, KeyStatus::accepted, "5", "merging reads it: lamina-merge"},
    {"export_device", KeyType::text, KeyStatus::accepted, "cpu", "merging reads it: lamina-merge"},
    {"export_legacy_format", KeyType::flag, KeyStatus::accepted, "false", "merging reads it: lamina-merge"},
    {"export_quantization_bit", KeyType::integer, KeyStatus::accepted, "", "merging reads it: lamina-merge"},
    {"export_quantization_dataset", KeyType::text, KeyStatus::accepted, "", "merging reads it: lamina-merge"},
    {"export_quantization_nsamples", KeyType::integer, KeyStatus::accepted, "128", "merging reads it: lamina-merge"},
    {"export_quantization_maxlen", KeyType::integer, KeyStatus::accepted, "1024", "merging reads it: lamina-merge"},
    {"export_hub_model_id", KeyType::text, KeyStatus::accepted, "", "merging reads it: lamina-merge"},
    {"vllm_maxlen", KeyType::integer, KeyStatus::accepted, "4096", "it concerns serving: lamina-serve"},
    {"vllm_gpu_util", KeyType::number, KeyStatus::accepted, "0.7", "it concerns serving: lamina-serve"},
    {"vllm_enforce_eager", KeyType::flag, KeyStatus::accepted, "false", "it concerns serving: lamina-serve"},
    {"vllm_max_lora_rank", KeyType::integer, KeyStatus::accepted, "32", "it concerns serving: lamina-serve"},
    {"vllm_config", KeyType::object, KeyStatus::accepted, "", "it concerns serving: lamina-serve"},
    {"sglang_maxlen", KeyType::integer, KeyStatus::accepted, "4096", "it concerns serving: lamina-serve"},
    {"sglang_mem_fraction", KeyType::number, KeyStatus::accepted, "0.7", "it concerns serving: lamina-serve"},
    {"sglang_tp_size", KeyType::integer, KeyStatus::accepted, "-1", "it concerns serving: lamina-serve"},
    {"sglang_config", KeyType::object, KeyStatus::accepted, "", "it concerns serving: lamina-serve"},
    {"sglang_lora_backend", KeyType::text, KeyStatus::accepted, "triton", "it concerns serving: lamina-serve"},
    {"use_kt", KeyType::flag, KeyStatus::refused, "false", "experts on the host are not built"},
    honoured<&Arguments::answers, &AnswerOptions::do_sample>("do_sample",
                                                             "draw answers; false: the most probable token"),
    honoured<&Arguments::answers, &AnswerOptions::temperature>("temperature", "of drawn answers").within(0, 100),
    honoured<&Arguments::answers, &AnswerOptions::top_p>("top_p", "mass of the tokens to draw from")
        .in({.least = 0, .most = 1, .above = true}),
    honoured<&Arguments::answers, &AnswerOptions::top_k>("top_k", "number of tokens to draw from; 0: all")
        .in(io::at_least(0)),
    {"num_beams", KeyType::integer, KeyStatus::refused, "1",
     "answers are drawn token by token, without beam search; set num_beams: 1"},
    honoured<&Arguments::answers, &AnswerOptions::max_length>("max_length",
                                                              "tokens of prompt and answer, if max_new_tokens is 0")
        .in(io::at_least(1)),
    honoured<&Arguments::answers, &AnswerOptions::max_new_tokens>("max_new_tokens", "tokens of an answer"),
    honoured<&Arguments::answers, &AnswerOptions::repetition_penalty>(
        "repetition_penalty", "divides the logits of tokens that were there; 1: none")
        .in({.least = 0, .most = 1e6, .above = true}),
    {"length_penalty", KeyType::number, KeyStatus::accepted, "1.0", "it belongs to num_beams"},
    honoured<&Arguments::answers, &AnswerOptions::skip_special_tokens>("skip_special_tokens",
                                                                       "leave special tokens out of answers"),
};

}  // namespace lamina::train
