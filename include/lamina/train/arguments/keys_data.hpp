#pragma once
#include <lamina/train/arguments/readers.hpp>

namespace lamina::train {

/// Dataset keys (LLaMA-Factory's data_args.py), and skip_bad_samples, which is our own: leave wrong rows out, with a
/// report.
inline constexpr TrainKey data_keys[] = {
    honoured<&Arguments::template_name>("template", "chat template, such as qwen3_vl; stage: pt needs none"),
    honoured<&Arguments::dataset>("dataset", "names of dataset_info.json to train on"),
    honoured<&Arguments::eval_dataset>("eval_dataset", "names of dataset_info.json to evaluate on"),
    honoured<&Arguments::dataset_dir>("dataset_dir", "folder of dataset_info.json and the data files"),
    honoured<&Arguments::media_dir>("media_dir", "folder that paths of images start from; unset: dataset_dir"),
    honoured<&Arguments::cutoff_len>("cutoff_len", "tokens of a sample; longer ones are cut").in(io::at_least(1)),
    honoured<&Arguments::train_on_prompt>("train_on_prompt", "learn the questions too"),
    honoured<&Arguments::mask_history>("mask_history", "learn the last answer of a conversation only"),
    honoured<&Arguments::max_samples>("max_samples", "the first rows of each data set; unset: all").in(io::at_least(1)),
    honoured<&Arguments::val_size>("val_size", "rows held out for evaluation: a share below 1, or a number")
        .in(io::at_least(0)),
    honoured<&Arguments::eval_on_each_dataset>("eval_on_each_dataset",
                                               "evaluate each of eval_dataset by itself: eval_NAME_loss"),
    honoured<&Arguments::mix_strategy>("mix_strategy",
                                       "concat or interleave_under, _over, _once: how several data sets are joined"),
    honoured<&Arguments::interleave_probs>("interleave_probs", "one probability per data set, for interleave_*"),
    {"overwrite_cache", KeyType::flag, KeyStatus::accepted, "false",
     "there is no preprocessing cache, so nothing is stale"},
    honoured<&Arguments::preprocessing_batch_size>("preprocessing_batch_size",
                                                   "rows that packing may join; rows are read one by one")
        .in(io::at_least(1)),
    honoured<&Arguments::preprocessing_num_workers>(
        "preprocessing_num_workers",
        "shares of the rows that packing keeps apart; rows are prepared in this process, in one pass before training")
        .in(io::at_least(1)),
    honoured<&Arguments::streaming>("streaming",
                                    "read and encode rows while they are used, max_steps of them; eval_dataset is "
                                    "read whole"),
    honoured<&Arguments::buffer_size>("buffer_size", "rows that streaming shuffles at a time")
        .in(io::between(1, 1 << 30)),
    honoured<&Arguments::packing>("packing",
                                  "join samples into rows of cutoff_len - 1 tokens, which share a loss and "
                                  "see the samples before them; unset: for stage: pt"),
    honoured<&Arguments::neat_packing>("neat_packing", "the same, but no sample sees another one"),
    {"tool_format", KeyType::text, KeyStatus::refused, "qwen", "the templates write tools as Qwen does; leave it out"},
    honoured<&Arguments::default_system>("default_system", "system text of samples that have none"),
    honoured<&Arguments::enable_thinking>("enable_thinking",
                                          "how samples without a thought are written: true, false or null"),
    honoured<&Arguments::preserve_thinking>("preserve_thinking", "keep the thoughts of earlier turns"),
    {"ignore_pad_token_for_loss", KeyType::flag, KeyStatus::refused, "true",
     "nothing is padded, so that there is no padding to learn; leave it out"},
    {"eval_num_beams", KeyType::integer, KeyStatus::refused, "1",
     "answers are drawn token by token, without beam search; leave it out"},
    honoured<&Arguments::tokenized_path>("tokenized_path",
                                         "folder in which the first run stores its samples, and from which later "
                                         "ones of the same settings start at once, without a look at data sets and "
                                         "images; LLaMA-Factory's Arrow files are not read"),
    honoured<&Arguments::skip_bad_samples>("skip_bad_samples",
                                           "leave out rows that cannot be read, with a report, instead of stopping"),
    {"data_shared_file_system", KeyType::flag, KeyStatus::accepted, "false", "each process reads the data itself"},
};

}  // namespace lamina::train
