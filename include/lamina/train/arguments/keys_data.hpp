#pragma once
#include <lamina/train/arguments/key.hpp>

namespace lamina::train {

/// Dataset keys (LLaMA-Factory's data_args.py), and skip_bad_samples, which is our own: leave wrong rows out, with a
/// report.
inline constexpr Key data_keys[] = {
    {"template", KeyType::text, KeyStatus::honoured, "", ""},
    {"dataset", KeyType::list, KeyStatus::honoured, "", ""},
    {"eval_dataset", KeyType::list, KeyStatus::honoured, "", ""},
    {"dataset_dir", KeyType::text, KeyStatus::honoured, "data", ""},
    {"media_dir", KeyType::text, KeyStatus::honoured, "", ""},
    {"cutoff_len", KeyType::integer, KeyStatus::honoured, "2048", ""},
    {"train_on_prompt", KeyType::flag, KeyStatus::honoured, "false", ""},
    {"mask_history", KeyType::flag, KeyStatus::honoured, "false", ""},
    {"max_samples", KeyType::integer, KeyStatus::honoured, "", ""},
    {"val_size", KeyType::number, KeyStatus::honoured, "0", ""},
    {"eval_on_each_dataset", KeyType::flag, KeyStatus::refused, "false",
     "one eval loss over all evaluation rows is reported; run once per eval_dataset"},
    {"mix_strategy", KeyType::text, KeyStatus::honoured, "concat", ""},
    {"interleave_probs", KeyType::list, KeyStatus::honoured, "", ""},
    {"overwrite_cache", KeyType::flag, KeyStatus::accepted, "false",
     "there is no preprocessing cache, so nothing is stale"},
    {"preprocessing_batch_size", KeyType::integer, KeyStatus::accepted, "1000", "rows are read one by one"},
    {"preprocessing_num_workers", KeyType::integer, KeyStatus::accepted, "",
     "rows are prepared in this process, in one pass before training"},
    {"streaming", KeyType::flag, KeyStatus::refused, "false",
     "datasets are read whole; images are read when they are needed, so that memory stays small"},
    {"buffer_size", KeyType::integer, KeyStatus::accepted, "16384", "it belongs to streaming"},
    {"packing", KeyType::flag, KeyStatus::refused, "false",
     "it changes which samples share a loss; micro-batches of a step are already packed into one run without padding"},
    {"neat_packing", KeyType::flag, KeyStatus::refused, "false",
     "it changes which samples share a loss; micro-batches of a step are already packed into one run without padding"},
    {"tool_format", KeyType::text, KeyStatus::refused, "qwen", "the templates write tools as Qwen does; leave it out"},
    {"default_system", KeyType::text, KeyStatus::honoured, "", ""},
    {"enable_thinking", KeyType::flag, KeyStatus::honoured, "true", ""},
    {"preserve_thinking", KeyType::flag, KeyStatus::honoured, "false", ""},
    {"ignore_pad_token_for_loss", KeyType::flag, KeyStatus::refused, "true",
     "nothing is padded, so that there is no padding to learn; leave it out"},
    {"eval_num_beams", KeyType::integer, KeyStatus::refused, "1",
     "answers are drawn token by token, without beam search; leave it out"},
    {"tokenized_path", KeyType::text, KeyStatus::refused, "",
     "rows are tokenised when they are needed, there is nothing to store"},
    {"skip_bad_samples", KeyType::flag, KeyStatus::honoured, "false", ""},
    {"data_shared_file_system", KeyType::flag, KeyStatus::accepted, "false", "there is one process"},
};

}  // namespace lamina::train
