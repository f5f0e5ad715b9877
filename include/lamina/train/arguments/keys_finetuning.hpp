#pragma once
#include <lamina/checkpoint/adapter/config.hpp>
#include <lamina/train/arguments/readers.hpp>

namespace lamina::train {

/// What is trained and how (LLaMA-Factory's finetuning_args.py).
inline constexpr TrainKey finetuning_keys[] = {
    honoured<&Arguments::stage>("stage",
                                "sft: answers of conversations are learned; pt: whole texts; dpo: which of two "
                                "answers is better; kto: which answers are good"),
    honoured<&Arguments::finetuning_type>("finetuning_type", "lora, full or freeze"),
    honoured<&Arguments::lora_rank>("lora_rank", "of new adapters").in(io::at_least(1)),
    honoured<&Arguments::lora_alpha>("lora_alpha",
                                     "new adapters are scaled by it over their rank; unset: 2 * lora_rank")
        .in(checkpoint::alpha_range),
    honoured<&Arguments::lora_dropout>("lora_dropout", "share of an adapter's inputs that a step leaves out")
        .in(io::proportion),
    honoured<&Arguments::lora_target>("lora_target", "names of the layers to adapt, or all"),
    honoured<&Arguments::additional_target>(
        "additional_target", "modules to train whole next to the adapters, by the ends of their names: embed_tokens"),
    honoured<&Arguments::loraplus_lr_ratio>("loraplus_lr_ratio",
                                            "LoRA+: learning rate of each lora_B over that of its lora_A")
        .in({.least = 0, .most = 1e6, .above = true}),
    {"loraplus_lr_embedding", KeyType::number, KeyStatus::accepted, "1e-6",
     "embeddings get no adapter, so that there is nothing to learn at this rate"},
    honoured<&Arguments::use_rslora>("use_rslora", "divide lora_alpha by the root of the rank"),
    honoured<&Arguments::use_dora>("use_dora", "train the lengths of the weights' rows apart from their directions"),
    honoured<&Arguments::pissa_init>("pissa_init", "start adapters with the principal part of their weights"),
    honoured<&Arguments::pissa_iter>("pissa_iter",
                                     "rounds of subspace iteration that find it; -1: the whole decomposition")
        .in(io::at_least(-1)),
    honoured<&Arguments::pissa_convert>("pissa_convert",
                                        "write pissa_converted, an adapter for the base model, at the end"),
    honoured<&Arguments::create_new_adapter>("create_new_adapter", "fold all given adapters in and train a new one"),
    honoured<&Arguments::freeze_vision_tower>("freeze_vision_tower", "do not train the vision tower"),
    honoured<&Arguments::freeze_multi_modal_projector>("freeze_multi_modal_projector", "do not train the projector"),
    honoured<&Arguments::freeze_language_model>("freeze_language_model", "do not train the language model"),
    honoured<&Arguments::vision_tower_lr>("vision_tower_lr", "learning rate of the vision tower, if not learning_rate")
        .in({.least = 0, .most = 1e6}),
    honoured<&Arguments::multi_modal_projector_lr>("multi_modal_projector_lr", "the same of the projector")
        .in({.least = 0, .most = 1e6}),
    honoured<&Arguments::language_model_lr>("language_model_lr", "the same of the language model")
        .in({.least = 0, .most = 1e6}),
    honoured<&Arguments::freeze_trainable_layers>(
        "freeze_trainable_layers",
        "layers that finetuning_type: freeze trains: the last ones, or if negative the first"),
    honoured<&Arguments::freeze_trainable_modules>(
        "freeze_trainable_modules", "parts of those layers that finetuning_type: freeze trains, such as mlp, or all"),
    honoured<&Arguments::freeze_extra_modules>("freeze_extra_modules",
                                               "modules outside of layers that it trains too, such as embed_tokens"),
    honoured<&Arguments::preference, &PreferenceLoss::beta>(
        "pref_beta", "how far answers may move from the reference, inversely; of stages dpo and kto")
        .in({.least = 0, .most = 1e6, .above = true}),
    honoured<&Arguments::preference, &PreferenceLoss::ftx>("pref_ftx",
                                                           "share of the chosen answers' own loss in stages dpo, kto")
        .within(0, 1e6),
    honoured_by("pref_loss", KeyType::text, "sigmoid", detail::read_preference_loss,
                "of stage dpo: sigmoid, hinge, ipo, or without a reference model orpo, simpo"),
    honoured<&Arguments::preference, &PreferenceLoss::label_smoothing>(
        "dpo_label_smoothing", "share of pairs that pref_loss: sigmoid takes for wrong ones")
        .in({.least = 0, .most = 0.5, .below = true}),
    honoured<&Arguments::preference, &PreferenceLoss::chosen_weight>("kto_chosen_weight",
                                                                     "of desirable answers in stage kto")
        .within(0, 1e6),
    honoured<&Arguments::preference, &PreferenceLoss::rejected_weight>("kto_rejected_weight",
                                                                       "of undesirable answers in stage kto")
        .within(0, 1e6),
    honoured<&Arguments::preference, &PreferenceLoss::simpo_gamma>("simpo_gamma",
                                                                   "margin of rewards that pref_loss: simpo asks for")
        .within(-1e6, 1e6),
    {"pref_bco_weight", KeyType::number, KeyStatus::refused, "0.0",
     "the baseline of BCO moves from step to step and is not built; leave it out"},
    {"ld_alpha", KeyType::number, KeyStatus::refused, "", "all tokens of an answer weigh alike; leave it out"},
    {"ref_model", KeyType::text, KeyStatus::refused, "",
     "the reference is the base model without its adapter; to compare with another, train an adapter on that one"},
    {"ref_model_adapters", KeyType::list, KeyStatus::refused, "",
     "the reference is the base model; merge the adapters into it with lamina-merge first"},
    {"ref_model_quantization_bit", KeyType::integer, KeyStatus::refused, "", "there is no second model to quantise"},
    honoured<&Arguments::pure_bf16>("pure_bf16",
                                    "of full and freeze training: weights and the optimizer's state are bf16 alone, "
                                    "rounded at random so that small updates count on average; a CPU computes in fp32 "
                                    "on weights of such values"),
    honoured<&Arguments::plot_loss>("plot_loss", "draw training_loss.png"),
    honoured<&Arguments::compute_accuracy>("compute_accuracy",
                                           "evaluations report the share of labels that are the likeliest token"),
    honoured<&Arguments::disable_shuffling>("disable_shuffling", "rows in their order"),
    honoured<&Arguments::early_stopping_steps>("early_stopping_steps",
                                               "evaluations without gain after which the run ends; unset: never")
        .in(io::at_least(1)),
    honoured<&Arguments::include_effective_tokens_per_second>("include_effective_tokens_per_second",
                                                              "report tokens per second of the whole run"),
    honoured<&Arguments::use_dft_loss>("use_dft_loss",
                                       "weigh each label's loss by its own probability (dynamic fine-tuning)"),
    {"use_asft_loss", KeyType::flag, KeyStatus::refused, "false", "the loss is the cross-entropy"},
    {"asft_alpha", KeyType::number, KeyStatus::accepted, "0.1", "it belongs to use_asft_loss"},
    {"use_eaft_loss", KeyType::flag, KeyStatus::refused, "false", "the loss is the cross-entropy"},
    {"eaft_alpha", KeyType::number, KeyStatus::accepted, "1.0", "it belongs to use_eaft_loss"},
    {"use_galore", KeyType::flag, KeyStatus::refused, "false",
     "GaLore is not built; finetuning_type: lora needs less memory than it, on full training deepspeed shares "
     "the moments out"},
    {"use_apollo", KeyType::flag, KeyStatus::refused, "false",
     "APOLLO is not built; finetuning_type: lora needs less memory than it, on full training deepspeed shares "
     "the moments out"},
    {"use_badam", KeyType::flag, KeyStatus::refused, "false",
     "BAdam is not built; finetuning_type: freeze trains a few layers at a time, as a block of BAdam"},
    {"use_adam_mini", KeyType::flag, KeyStatus::refused, "false",
     "Adam-mini is not built; optim: adamw_8bit or adafactor needs less memory than it"},
    honoured<&Arguments::use_muon>(
        "use_muon", "Muon for matrices, AdamW for vectors, embeddings and the head; optim has no effect"),
    {"use_llama_pro", KeyType::flag, KeyStatus::refused, "false", "block expansion is not built"},
    {"use_mca", KeyType::flag, KeyStatus::refused, "false", "Megatron is not built; leave it out"},
    {"use_hyper_parallel", KeyType::flag, KeyStatus::refused, "false",
     "processes share each step's rows, nothing else; leave it out"},
    {"hyper_parallel_args", KeyType::text, KeyStatus::accepted, "", "it belongs to use_hyper_parallel"},
    honoured<&Arguments::use_swanlab>("use_swanlab", "swanlab in report_to"),
};

/// Options of methods, of which some are not built: without the method's own key they mean nothing.
inline constexpr TrainKey method_option_keys[] = {
    {"module_dropout", KeyType::number, KeyStatus::accepted, "0.0", "it belongs to finetuning_type: oft"},
    {"oft_rank", KeyType::integer, KeyStatus::accepted, "0", "it belongs to finetuning_type: oft"},
    {"oft_block_size", KeyType::integer, KeyStatus::accepted, "32", "it belongs to finetuning_type: oft"},
    {"oft_target", KeyType::list, KeyStatus::accepted, "all", "it belongs to finetuning_type: oft"},
    {"ppo_buffer_size", KeyType::integer, KeyStatus::accepted, "1",
     "it belongs to stages rm and ppo, which are not built"},
    {"ppo_epochs", KeyType::integer, KeyStatus::accepted, "4", "it belongs to stages rm and ppo, which are not built"},
    {"ppo_score_norm", KeyType::flag, KeyStatus::accepted, "false",
     "it belongs to stages rm and ppo, which are not built"},
    {"ppo_target", KeyType::number, KeyStatus::accepted, "6.0", "it belongs to stages rm and ppo, which are not built"},
    {"ppo_whiten_rewards", KeyType::flag, KeyStatus::accepted, "false",
     "it belongs to stages rm and ppo, which are not built"},
    {"reward_model", KeyType::text, KeyStatus::accepted, "", "it belongs to stages rm and ppo, which are not built"},
    {"reward_model_adapters", KeyType::list, KeyStatus::accepted, "",
     "it belongs to stages rm and ppo, which are not built"},
    {"reward_model_quantization_bit", KeyType::integer, KeyStatus::accepted, "",
     "it belongs to stages rm and ppo, which are not built"},
    {"reward_model_type", KeyType::text, KeyStatus::accepted, "lora",
     "it belongs to stages rm and ppo, which are not built"},
    {"galore_target", KeyType::list, KeyStatus::accepted, "all", "it belongs to use_galore"},
    {"galore_rank", KeyType::integer, KeyStatus::accepted, "16", "it belongs to use_galore"},
    {"galore_update_interval", KeyType::integer, KeyStatus::accepted, "200", "it belongs to use_galore"},
    {"galore_scale", KeyType::number, KeyStatus::accepted, "2.0", "it belongs to use_galore"},
    {"galore_proj_type", KeyType::text, KeyStatus::accepted, "std", "it belongs to use_galore"},
    {"galore_layerwise", KeyType::flag, KeyStatus::accepted, "false", "it belongs to use_galore"},
    {"apollo_target", KeyType::list, KeyStatus::accepted, "all", "it belongs to use_apollo"},
    {"apollo_rank", KeyType::integer, KeyStatus::accepted, "16", "it belongs to use_apollo"},
    {"apollo_update_interval", KeyType::integer, KeyStatus::accepted, "200", "it belongs to use_apollo"},
    {"apollo_scale", KeyType::number, KeyStatus::accepted, "32.0", "it belongs to use_apollo"},
    {"apollo_proj", KeyType::text, KeyStatus::accepted, "random", "it belongs to use_apollo"},
    {"apollo_proj_type", KeyType::text, KeyStatus::accepted, "std", "it belongs to use_apollo"},
    {"apollo_scale_type", KeyType::text, KeyStatus::accepted, "channel", "it belongs to use_apollo"},
    {"apollo_layerwise", KeyType::flag, KeyStatus::accepted, "false", "it belongs to use_apollo"},
    {"apollo_scale_front", KeyType::flag, KeyStatus::accepted, "false", "it belongs to use_apollo"},
    {"badam_mode", KeyType::text, KeyStatus::accepted, "layer", "it belongs to use_badam"},
    {"badam_start_block", KeyType::integer, KeyStatus::accepted, "", "it belongs to use_badam"},
    {"badam_switch_mode", KeyType::text, KeyStatus::accepted, "ascending", "it belongs to use_badam"},
    {"badam_switch_interval", KeyType::integer, KeyStatus::accepted, "50", "it belongs to use_badam"},
    {"badam_update_ratio", KeyType::number, KeyStatus::accepted, "0.05", "it belongs to use_badam"},
    {"badam_mask_mode", KeyType::text, KeyStatus::accepted, "adjacent", "it belongs to use_badam"},
    {"badam_verbose", KeyType::integer, KeyStatus::accepted, "0", "it belongs to use_badam"},
    honoured<&Arguments::swanlab, &SwanlabOptions::project>("swanlab_project", "of SwanLab"),
    honoured<&Arguments::swanlab, &SwanlabOptions::workspace>("swanlab_workspace",
                                                              "of SwanLab; unset: the account's own"),
    honoured<&Arguments::swanlab, &SwanlabOptions::run_name>("swanlab_run_name", "of SwanLab; unset: run_name"),
    honoured<&Arguments::swanlab, &SwanlabOptions::mode>("swanlab_mode", "cloud, local, offline or disabled"),
    honoured<&Arguments::swanlab, &SwanlabOptions::api_key>("swanlab_api_key",
                                                            "of SwanLab; unset: as `swanlab login` has stored it"),
    honoured<&Arguments::swanlab, &SwanlabOptions::logdir>("swanlab_logdir",
                                                           "folder of SwanLab's files; unset: ./swanlog"),
    {"swanlab_lark_webhook_url", KeyType::text, KeyStatus::refused, "", "no messages are sent to Lark; leave it out"},
    {"swanlab_lark_secret", KeyType::text, KeyStatus::refused, "", "no messages are sent to Lark; leave it out"},
    {"kt_weight_path", KeyType::text, KeyStatus::accepted, "", "it belongs to use_kt"},
    {"kt_expert_checkpoint_path", KeyType::text, KeyStatus::accepted, "", "it belongs to use_kt"},
    {"kt_use_lora_experts", KeyType::flag, KeyStatus::accepted, "", "it belongs to use_kt"},
    {"kt_lora_expert_num", KeyType::integer, KeyStatus::accepted, "", "it belongs to use_kt"},
    {"kt_lora_expert_intermediate_size", KeyType::integer, KeyStatus::accepted, "", "it belongs to use_kt"},
};

}  // namespace lamina::train
