#pragma once
#include <lamina/train/arguments/readers.hpp>
#include <lamina/train/arguments/sharding.hpp>

namespace lamina::train {

inline constexpr const char* one_sum = "gradients are summed over processes by one call, after each step's backward";
inline constexpr std::string_view devices[] = {"auto", "cpu", "cuda"};
inline constexpr int most_batches = 1 << 20;
inline constexpr const char* launched = "mpirun, srun or torchrun --no-python says which process this is";

/// The trainer's keys (transformers' TrainingArguments) that shape a run. Two are our own: device (auto, cpu or cuda),
/// and jieba_dictionary, a file like jieba's dict.txt by which ROUGE cuts Chinese into words (text/jieba.hpp).
inline constexpr TrainKey trainer_keys[] = {
    honoured<&Arguments::output_dir>("output_dir", "folder to write to"),
    honoured<&Arguments::overwrite_output_dir>("overwrite_output_dir",
                                               "start anew although output_dir holds checkpoints"),
    honoured<&Arguments::do_train>("do_train", "train"),
    honoured<&Arguments::do_eval>("do_eval", "evaluate after training"),
    honoured<&Arguments::do_predict>("do_predict", "answer the records of eval_dataset after training"),
    honoured<&Arguments::predict_with_generate>("predict_with_generate",
                                                "do_eval too answers and scores instead of reporting the loss"),
    honoured<&Arguments::jieba_dictionary>("jieba_dictionary",
                                           "jieba's dict.txt, for ROUGE of Chinese; unset: an installed one"),
    honoured<&Arguments::per_device_train_batch_size>("per_device_train_batch_size", "samples of a micro-batch")
        .within(1, most_batches),
    honoured<&Arguments::per_device_eval_batch_size>("per_device_eval_batch_size", "samples of a batch of evaluation")
        .within(1, most_batches),
    honoured<&Arguments::gradient_accumulation_steps>("gradient_accumulation_steps", "micro-batches of a step")
        .within(1, most_batches),
    honoured<&Arguments::optimizer, &OptimizerSettings::learning_rate>("learning_rate", "the largest of the schedule")
        .within(0, 1e30),
    honoured<&Arguments::num_train_epochs>("num_train_epochs", "passes over the data").in({.most = 1e6}),
    honoured<&Arguments::max_steps>("max_steps", "steps, instead of num_train_epochs; -1: not set").in({.most = 1e12}),
    honoured<&Arguments::schedule, &ScheduleOptions::type>("lr_scheduler_type", "how the learning rate falls"),
    honoured_by("lr_scheduler_kwargs", KeyType::object, "", detail::read_schedule_options,
                "numbers of the schedule, such as {min_lr_rate: 0.1}"),
    honoured<&Arguments::schedule, &ScheduleOptions::warmup_steps>(
        "warmup_steps", "steps until the full learning rate; below 1: a share of all")
        .within(0, 1e12),
    honoured_by("warmup_ratio", KeyType::number, "", detail::read_warmup_ratio, "the same as a share of all steps"),
    honoured_by("optim", KeyType::text, "adamw_torch", detail::read_optimizer_name,
                "adamw_torch, sgd, adafactor, lion_32bit, adamw_8bit, lion_8bit, or another name of these"),
    honoured<&Arguments::optim_args>(
        "optim_args",
        "of sgd, such as momentum=0.9,dampening=0,nesterov=true; the settings of other optimizers are adam_beta1, "
        "adam_beta2, adam_epsilon and weight_decay"),
    honoured<&Arguments::optimizer, &OptimizerSettings::weight_decay>("weight_decay", "of matrices").within(0, 1e6),
    honoured<&Arguments::optimizer, &OptimizerSettings::beta1>("adam_beta1", "of AdamW and Lion").in(io::proportion),
    honoured<&Arguments::optimizer, &OptimizerSettings::beta2>("adam_beta2", "of AdamW and Lion").in(io::proportion),
    honoured<&Arguments::optimizer, &OptimizerSettings::epsilon>("adam_epsilon", "of AdamW")
        .in({.least = 0, .most = 1, .above = true}),
    honoured<&Arguments::max_grad_norm>("max_grad_norm", "longer gradients are scaled down to it; 0: never")
        .in(io::at_least(0)),
    honoured<&Arguments::label_smoothing_factor>("label_smoothing_factor",
                                                 "share of each label that all tokens of the vocabulary get alike")
        .in(io::proportion),
    honoured<&Arguments::neftune_noise_alpha>("neftune_noise_alpha",
                                              "of uniform noise on the embeddings of each training step (NEFTune)")
        .within(0, 1e6),
    {"bf16", KeyType::flag, KeyStatus::accepted, "false",
     "a GPU always computes in bf16, the CPU in fp32 (unless LAMINA_CPU_BF16=1 is set); adapters, gradients and Adam's "
     "moments are fp32 on both"},
    {"fp16", KeyType::flag, KeyStatus::accepted, "false",
     "every GPU that is supported has bf16, which needs no scaling of losses: training computes in bf16, the CPU in "
     "fp32"},
    honoured_word<devices, &Arguments::device>("device", "auto (the GPU if there is one), cpu or cuda"),
    honoured<&Arguments::seed>("seed", "of initial adapters, dropout and the order of rows"),
    honoured<&Arguments::data_seed>("data_seed", "of the order of rows; unset: seed"),
    honoured<&Arguments::logging_strategy>("logging_strategy", "no, steps or epoch"),
    honoured<&Arguments::logging_steps>("logging_steps", "steps between log events; below 1: a share of all")
        .within(0, 1e12),
    honoured<&Arguments::logging_first_step>("logging_first_step", "log the first step too"),
    {"logging_nan_inf_filter", KeyType::flag, KeyStatus::accepted, "true",
     "a loss that is not finite always stops the run and names the sample"},
    honoured_by("include_num_input_tokens_seen", KeyType::text, "no", detail::read_tokens_seen,
                "log the number of tokens")
        .or_bare(),
    honoured<&Arguments::report_to>("report_to",
                                    "where values go besides trainer_log.jsonl: none, tensorboard (or all), "
                                    "mlflow, wandb, swanlab, several of them"),
    honoured<&Arguments::logging_dir>("logging_dir", "folder of TensorBoard's events; unset: runs/ below output_dir"),
    honoured<&Arguments::save_strategy>("save_strategy", "no, steps, epoch or best"),
    honoured<&Arguments::save_steps>("save_steps", "steps between checkpoints; below 1: a share of all")
        .within(0, 1e12),
    honoured<&Arguments::save_total_limit>("save_total_limit", "checkpoints to keep; unset: all").in(io::at_least(1)),
    honoured<&Arguments::save_only_model>("save_only_model", "checkpoints without what resuming needs"),
    honoured<&Arguments::eval_strategy>("eval_strategy", "no, steps or epoch"),
    honoured<&Arguments::eval_steps>("eval_steps",
                                     "steps between evaluations; below 1: a share of all; unset: logging_steps")
        .within(0, 1e12),
    honoured<&Arguments::eval_delay>("eval_delay", "epochs or steps before the first evaluation").in(io::at_least(0)),
    honoured<&Arguments::eval_on_start>("eval_on_start", "evaluate before the first step"),
    honoured<&Arguments::load_best_model_at_end>("load_best_model_at_end", "end with the best checkpoint's weights"),
    honoured<&Arguments::metric_for_best_model>("metric_for_best_model", "what decides which checkpoint is best"),
    honoured_by("greater_is_better", KeyType::flag, "", detail::read_greater_is_better,
                "whether that metric should grow; unset: unless it is a loss"),
    honoured_by("resume_from_checkpoint", KeyType::text, "", detail::read_resume,
                "a checkpoint's folder, or true: the newest of output_dir"),
    honoured<&Arguments::ignore_data_skip>("ignore_data_skip", "when resuming, begin the epoch's rows again"),
    honoured<&Arguments::dataloader_num_workers>("dataloader_num_workers", "threads that prepare batches")
        .within(0, 1024),
    honoured<&Arguments::dataloader_drop_last>(
        "dataloader_drop_last", "leave out the last rows of an epoch, and of an evaluation, that do not fill a batch"),
    honoured<&Arguments::train_sampling_strategy>(
        "train_sampling_strategy",
        "random; sequential: rows in their order; group_by_length: rows of like "
        "length together"),
    honoured_by("group_by_length", KeyType::flag, "false", detail::read_group_by_length,
                "train_sampling_strategy: group_by_length, as transformers 4 called it"),
    honoured_by("deepspeed", KeyType::object, "", detail::read_deepspeed,
                "of full and freeze, stage 1: processes share out the optimizer's state; 2 and 3: the gradients "
                "as well"),
    honoured_by("fsdp", KeyType::list, "", detail::read_fsdp, "full_shard, shard_grad_op: the same as deepspeed")
        .or_bare(),
    honoured<&Arguments::ddp_timeout>("ddp_timeout", "seconds that one process may keep the others waiting")
        .within(1, 1e9),
    {"fp8", KeyType::flag, KeyStatus::refused, "false", "fp8 training is not built; set fp8: false"},
    {"push_to_hub", KeyType::flag, KeyStatus::refused, "false",
     "nothing is uploaded: after the run, `hf upload OWNER/NAME OUTPUT_DIR` or `modelscope upload OWNER/NAME "
     "OUTPUT_DIR` "
     "does it"},
    {"auto_find_batch_size", KeyType::flag, KeyStatus::refused, "false",
     "memory is planned before the run: lamina-train --dry-run prints it"},
    {"enable_torch_profiler", KeyType::flag, KeyStatus::refused, "false", "there is no torch here to profile"},
};

/// Keys of torch's machinery, that have nothing to act on in a native process.
inline constexpr TrainKey runtime_keys[] = {
    {"ddp_find_unused_parameters", KeyType::flag, KeyStatus::accepted, "", one_sum},
    {"ddp_bucket_cap_mb", KeyType::integer, KeyStatus::accepted, "", one_sum},
    {"ddp_broadcast_buffers", KeyType::flag, KeyStatus::accepted, "", one_sum},
    {"ddp_static_graph", KeyType::flag, KeyStatus::accepted, "", one_sum},
    {"ddp_backend", KeyType::text, KeyStatus::accepted, "", "NCCL joins GPUs, MPI the processes of CPUs"},
    {"local_rank", KeyType::integer, KeyStatus::accepted, "-1", launched},
    {"average_tokens_across_devices", KeyType::flag, KeyStatus::accepted, "true",
     "each micro-batch counts alike, as with every model that has a processor"},
    {"log_on_each_node", KeyType::flag, KeyStatus::accepted, "true", "the first process alone reports"},
    {"log_level_replica", KeyType::text, KeyStatus::accepted, "warning",
     "the first process alone reports, the others say errors"},
    {"save_on_each_node", KeyType::flag, KeyStatus::accepted, "false",
     "the first process alone writes; others read its checkpoints to resume, so output_dir is shared by all hosts"},
    {"ray_num_workers", KeyType::integer, KeyStatus::accepted, "1", launched},
    {"ray_init_kwargs", KeyType::object, KeyStatus::accepted, "", launched},
    {"master_addr", KeyType::text, KeyStatus::accepted, "", launched},
    {"master_port", KeyType::text, KeyStatus::accepted, "", launched},
    honoured_by("accelerator_config", KeyType::object, "", detail::read_accelerator, "accelerate's settings"),
    {"parallelism_config", KeyType::object, KeyStatus::accepted, "", "processes share each step's rows, nothing else"},
    {"fsdp_config", KeyType::object, KeyStatus::accepted, "",
     "weights are not wrapped, since each process holds all of them"},
    {"fp8_backend", KeyType::text, KeyStatus::accepted, "auto", "it belongs to fp8"},
    {"fp8_enable_fsdp_float8_all_gather", KeyType::flag, KeyStatus::accepted, "false", "it belongs to fp8"},
    {"profiler_output_dir", KeyType::text, KeyStatus::accepted, "", "it belongs to enable_torch_profiler"},
    {"profiler_wait_steps", KeyType::integer, KeyStatus::accepted, "1", "it belongs to enable_torch_profiler"},
    {"profiler_warmup_steps", KeyType::integer, KeyStatus::accepted, "1", "it belongs to enable_torch_profiler"},
    {"profiler_active_steps", KeyType::integer, KeyStatus::accepted, "1", "it belongs to enable_torch_profiler"},
    {"profiler_repeat", KeyType::integer, KeyStatus::accepted, "1", "it belongs to enable_torch_profiler"},
    {"profiler_record_shapes", KeyType::flag, KeyStatus::accepted, "true", "it belongs to enable_torch_profiler"},
    {"profiler_profile_memory", KeyType::flag, KeyStatus::accepted, "true", "it belongs to enable_torch_profiler"},
    {"profiler_with_stack", KeyType::flag, KeyStatus::accepted, "true", "it belongs to enable_torch_profiler"},
    {"profile_modules", KeyType::text, KeyStatus::accepted, "", "it belongs to enable_torch_profiler"},
    {"hub_model_id", KeyType::text, KeyStatus::accepted, "", "nothing is uploaded"},
    {"hub_token", KeyType::text, KeyStatus::accepted, "", "nothing is uploaded"},
    {"hub_strategy", KeyType::text, KeyStatus::accepted, "every_save", "nothing is uploaded"},
    {"hub_private_repo", KeyType::flag, KeyStatus::accepted, "", "nothing is uploaded"},
    {"hub_always_push", KeyType::flag, KeyStatus::accepted, "false", "nothing is uploaded"},
    {"hub_revision", KeyType::text, KeyStatus::accepted, "", "nothing is uploaded"},
    honoured<&Arguments::run_name>("run_name", "of the run in mlflow, wandb and swanlab"),
    honoured<&Arguments::project>("project", "of wandb, unless WANDB_PROJECT is set"),
    {"trackio_space_id", KeyType::text, KeyStatus::accepted, "trackio",
     "trackio is not connected: report_to has mlflow, wandb and swanlab"},
    {"trackio_bucket_id", KeyType::text, KeyStatus::accepted, "",
     "trackio is not connected: report_to has mlflow, wandb and swanlab"},
    {"trackio_static_space_id", KeyType::text, KeyStatus::accepted, "",
     "trackio is not connected: report_to has mlflow, wandb and swanlab"},
    {"dataloader_pin_memory", KeyType::flag, KeyStatus::accepted, "true",
     "batches are handed over in memory by threads of this process"},
    {"dataloader_prefetch_factor", KeyType::integer, KeyStatus::accepted, "",
     "batches are handed over in memory by threads of this process"},
    {"dataloader_persistent_workers", KeyType::flag, KeyStatus::accepted, "false",
     "batches are handed over in memory by threads of this process"},
    {"remove_unused_columns", KeyType::flag, KeyStatus::accepted, "true", "rows hold exactly what training needs"},
    {"label_names", KeyType::list, KeyStatus::accepted, "", "rows hold exactly what training needs"},
    {"length_column_name", KeyType::text, KeyStatus::accepted, "length", "rows hold exactly what training needs"},
    {"prediction_loss_only", KeyType::flag, KeyStatus::honoured, "false",
     "evaluation reports the loss, which predict_with_generate contradicts"},
    {"eval_accumulation_steps", KeyType::integer, KeyStatus::accepted, "",
     "evaluation keeps sums only, in the memory of training"},
    {"eval_do_concat_batches", KeyType::flag, KeyStatus::accepted, "true",
     "evaluation keeps sums only, in the memory of training"},
    {"eval_use_gather_object", KeyType::flag, KeyStatus::accepted, "false",
     "evaluation keeps sums only, in the memory of training"},
    {"include_for_metrics", KeyType::list, KeyStatus::accepted, "",
     "evaluation keeps sums only, in the memory of training"},
    {"batch_eval_metrics", KeyType::flag, KeyStatus::accepted, "false",
     "evaluation keeps sums only, in the memory of training"},
    {"bf16_full_eval", KeyType::flag, KeyStatus::accepted, "false",
     "evaluation computes as training does: a GPU in bf16, the CPU in fp32"},
    {"fp16_full_eval", KeyType::flag, KeyStatus::accepted, "false",
     "evaluation computes as training does: a GPU in bf16, the CPU in fp32"},
    {"generation_max_length", KeyType::integer, KeyStatus::accepted, "", "max_new_tokens or max_length decides"},
    {"generation_num_beams", KeyType::integer, KeyStatus::refused, "1",
     "answers are drawn token by token, without beam search; leave it out"},
    {"generation_config", KeyType::text, KeyStatus::refused, "",
     "set do_sample, temperature, top_p, top_k, repetition_penalty and max_new_tokens instead"},
    {"sortish_sampler", KeyType::flag, KeyStatus::accepted, "false", "transformers' trainer does not read it either"},
    honoured<&Arguments::full_determinism>("full_determinism", "on a GPU: the same bits in each run"),
    honoured_by("use_cpu", KeyType::flag, "false", detail::read_use_cpu, "device: cpu"),
    {"tf32", KeyType::flag, KeyStatus::accepted, "", "a GPU computes in bf16, the CPU has no TF32"},
    {"torch_compile", KeyType::flag, KeyStatus::accepted, "false", "there is no torch here to compile with"},
    {"torch_compile_backend", KeyType::text, KeyStatus::accepted, "", "there is no torch here to compile with"},
    {"torch_compile_mode", KeyType::text, KeyStatus::accepted, "", "there is no torch here to compile with"},
    {"torch_empty_cache_steps", KeyType::integer, KeyStatus::accepted, "",
     "memory is planned, there is no cache to empty"},
    {"use_liger_kernel", KeyType::flag, KeyStatus::accepted, "false",
     "the head and the cross-entropy are always fused"},
    {"liger_kernel_config", KeyType::object, KeyStatus::accepted, "",
     "the head and the cross-entropy are always fused"},
    {"use_cache", KeyType::flag, KeyStatus::accepted, "false", "training has no KV cache"},
    {"optim_target_modules", KeyType::list, KeyStatus::accepted, "",
     "it belongs to optim: galore_adamw and its like, which are not built"},
    {"gradient_checkpointing", KeyType::flag, KeyStatus::accepted, "false",
     "disable_gradient_checkpointing decides on it"},
    {"gradient_checkpointing_kwargs", KeyType::object, KeyStatus::accepted, "",
     "disable_gradient_checkpointing decides on it"},
    {"save_safetensors", KeyType::flag, KeyStatus::accepted, "true", "files are always written as safetensors"},
    {"log_level", KeyType::text, KeyStatus::accepted, "passive", "it has no counterpart here"},
    {"debug", KeyType::text, KeyStatus::accepted, "", "it has no counterpart here"},
    {"skip_memory_metrics", KeyType::flag, KeyStatus::accepted, "true", "it has no counterpart here"},
    {"enable_jit_checkpoint", KeyType::flag, KeyStatus::accepted, "false",
     "SIGTERM and Ctrl-C always save a checkpoint before the run ends"},
    {"restore_callback_states_from_checkpoint", KeyType::flag, KeyStatus::accepted, "false",
     "a resumed run always goes on with the count of early_stopping_steps"},
    honoured<&Arguments::disable_tqdm>("disable_tqdm", "no progress bar; unset: if the output is no terminal"),
};

}  // namespace lamina::train
