#pragma once
#include <lamina/train/arguments/readers.hpp>

namespace lamina::train {

/// Dataset keys (LLaMA-Factory's data_args.py), and skip_bad_samples, which is our own: leave wrong rows out, with a
/// report.
inline constexpr Key data_keys[] = {
    honoured<&Arguments::template_name>("template"),
    honoured<&Arguments::dataset>("dataset"),
    honoured<&Arguments::eval_dataset>("eval_dataset"),
    honoured<&Arguments::dataset_dir>("dataset_dir"),
    honoured<&Arguments::media_dir>("media_dir"),
    honoured<&Arguments::cutoff_len>("cutoff_len"),
    honoured<&Arguments::train_on_prompt>("train_on_prompt"),
    honoured<&Arguments::mask_history>("mask_history"),
    honoured<&Arguments::max_samples>("max_samples"),
    honoured<&Arguments::val_size>("val_size"),
    {"eval_on_each_dataset", KeyType::flag, KeyStatus::refused, "false",
     "one eval loss over all evaluation rows is reported; run once per eval_dataset"},
    honoured<&Arguments::mix_strategy>("mix_strategy"),
    honoured<&Arguments::interleave_probs>("interleave_probs"),
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
    honoured<&Arguments::default_system>("default_system"),
    honoured<&Arguments::enable_thinking>("enable_thinking"),
    honoured<&Arguments::preserve_thinking>("preserve_thinking"),
    {"ignore_pad_token_for_loss", KeyType::flag, KeyStatus::refused, "true",
     "nothing is padded, so that there is no padding to learn; leave it out"},
    {"eval_num_beams", KeyType::integer, KeyStatus::refused, "1",
     "answers are drawn token by token, without beam search; leave it out"},
    {"tokenized_path", KeyType::text, KeyStatus::refused, "",
     "rows are tokenised when they are needed, there is nothing to store"},
    honoured<&Arguments::skip_bad_samples>("skip_bad_samples"),
    {"data_shared_file_system", KeyType::flag, KeyStatus::accepted, "false", "there is one process"},
};

}  // namespace lamina::train
