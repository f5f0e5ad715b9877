#include "train/arguments/parsed.hpp"

using namespace lamina;
using namespace lamina::train;
using namespace lamina::test::arguments;

TEST_CASE("Arguments: refusals say why", "[train]") {
  says(error_with("stage=rm"), "stage: rm is not built, wanted sft, pt, dpo or kto: reward models are not built");
  says(error_of({example, "stage=dpo", "finetuning_type=full"}), "pref_loss: orpo or simpo, which have no reference");
  says(error_of({example, "stage=dpo", "pref_loss=ipo", "dpo_label_smoothing=0.1"}), "needs stage: dpo with pref_loss");
  says(error_of({example, "stage=dpo", "pref_loss=kto_pair"}), "take stage: kto");
  says(error_of({example, "stage=kto", "packing=true"}), "packing needs stage: sft, got kto");
  says(error_of({example, "stage=dpo", "pref_beta=0"}), "wanted above 0 up to 1000000");
  says(error_of({example, "stage=dpo", "ref_model=other"}), "the base model without its adapter");
  says(error_with("stage=ppo"), "reward models are not built");
  says(error_of({example, "stage=pt", "neat_packing=true"}), "needs stage: sft");
  says(error_with("quantization_bit=5"), "quantization_bit is 5, wanted 4 or 8");
  says(error_of({example, "quantization_bit=4", "finetuning_type=full"}), "quantised weights cannot learn");
  says(error_of({example, "quantization_bit=4", "pissa_init=true", "pissa_convert=true"}), "which changes the base");
  says(error_of({example, "quantization_bit=8", "adapter_name_or_path=a,b"}), "a quantised model takes one");
  says(error_of({example, "quantization_bit=8", "adapter_name_or_path=a", "create_new_adapter=true"}), "no adapter is");
  says(error_of({example, "quantization_bit=4", "use_dora=true"}), "measures the rows of whole weights");
  says(error_with("quantization_method=hqq"), "hqq is not built, wanted bnb");
  says(error_with("quantization_type=int4"), "wanted nf4 or fp4");
  says(error_with("use_galore=true"), "GaLore is not built");
  says(error_with("fp8=true"), "fp8 training is not built");
  says(error_of({example, "use_muon=true", "loraplus_lr_ratio=4"}), "use_muon is not combined with loraplus_lr_ratio");
  says(error_with("optim=ademamix"), "adamw_8bit, lion_32bit, lion_8bit, sgd or adafactor");
  says(error_of({example, "optim=adamw_8bit", "finetuning_type=full", "deepspeed=ds_z2_config.json"}),
       "cannot share out this optimizer's state");
  says(io::listed(parse({example, "optim=paged_adamw_32bit"}).notes), "nothing is paged out");
  says(error_with("report_to=trackio"), "wanted none, tensorboard, mlflow, wandb, swanlab");
}

TEST_CASE("Arguments: wrong types and broken files name the place", "[train]") {
  says(error_with("lora_rank=eight"), "lora_rank is eight, wanted a whole number");
  says(error_with("lora_rank=8.5"), "wanted a whole number");
  says(error_with("plot_loss=perhaps"), "wanted true or false");
  says(error_with("seed=-1"), "whole number from 0");
  says(error_with("output_dir=${oc.env:HOME}/x"), "interpolation is not supported");
  says(error_of({file_of("c.yaml", "a: 1\nlora_rank: 8\nlora_rank: 9\n")}), "line 3: lora_rank is set twice");
  says(error_of({file_of("d.yaml", "a: [1\n")}), "not readable as YAML");
  says(error_of({file_of("e.json", "{")}), "not valid JSON: line 1, column 2: the text ends");
  says(error_of({file_of("f.json", R"({"a": {"x": 1, "y": 2, "x": 3}})")}), "x is set twice");
  says(error_of({file_of("g.json", R"({"a": ["${b}"]})")}), "interpolation is not supported");
  says(error_of({"/nonexistent/x.yaml"}), "cannot open");
  says(error_of({"nonsense"}), "neither");
}

TEST_CASE("Arguments: each number has its range", "[train]") {
  for (const char* word : {"cutoff_len=0",
                           "max_samples=0",
                           "val_size=-0.5",
                           "preprocessing_batch_size=0",
                           "image_max_pixels=0",
                           "image_min_pixels=0",
                           "lora_rank=0",
                           "lora_rank=1e10",
                           "lora_alpha=0",
                           "lora_alpha=-1",
                           "lora_alpha=1e300",
                           "lora_dropout=-0.1",
                           "lora_dropout=1",
                           "loraplus_lr_ratio=0",
                           "pissa_iter=-2",
                           "early_stopping_steps=0",
                           "per_device_train_batch_size=0",
                           "per_device_train_batch_size=2000000000",
                           "per_device_eval_batch_size=-1",
                           "gradient_accumulation_steps=0",
                           "learning_rate=-1e-4",
                           "learning_rate=1e300",
                           "num_train_epochs=1e300",
                           "num_train_epochs=0",
                           "max_steps=1e15",
                           "warmup_steps=-1",
                           "warmup_ratio=-0.1",
                           "weight_decay=-1",
                           "weight_decay=1e300",
                           "adam_beta1=1",
                           "adam_beta2=-0.1",
                           "adam_epsilon=0",
                           "max_grad_norm=-1",
                           "label_smoothing_factor=1",
                           "logging_steps=0",
                           "logging_steps=-5",
                           "save_steps=0",
                           "save_steps=-500",
                           "save_steps=1e300",
                           "eval_steps=-1",
                           "eval_delay=-1",
                           "save_total_limit=0",
                           "dataloader_num_workers=-1",
                           "dataloader_num_workers=1000000000",
                           "ddp_timeout=0",
                           "temperature=-1",
                           "top_p=0",
                           "top_k=-1",
                           "repetition_penalty=0",
                           "seed=1e300",
                           "learning_rate=nan",
                           "learning_rate=inf",
                           "pref_ftx=-1",
                           "dpo_label_smoothing=0.5",
                           "kto_chosen_weight=-1",
                           "lr_scheduler_type=polynomial lr_scheduler_kwargs={lr_end: -1}",
                           "device=gpu9"}) {
    CAPTURE(word);
    const std::string_view text = word;
    const std::size_t space = text.find(' ');
    std::vector<std::string> words = {example, std::string(text.substr(0, space))};
    if (space != text.npos) words.emplace_back(text.substr(space + 1));
    says(error_of(words), "wanted");
  }
}

TEST_CASE("Arguments: what transformers takes as a share, or as not set, stays so", "[train]") {
  for (const char* word : {"max_steps=-1", "max_steps=0", "warmup_steps=0.1", "save_steps=0.25", "logging_steps=0.5",
                           "weight_decay=0", "max_grad_norm=0", "pissa_iter=-1", "freeze_trainable_layers=-2",
                           "max_new_tokens=0", "top_k=0", "lora_dropout=0", "dataloader_num_workers=0"}) {
    CAPTURE(word);
    CHECK(error_with(word) == "");
  }
  CHECK(error_of({example, "save_strategy=epoch", "save_steps=0"}) == "");  // it decides nothing then
}

TEST_CASE("Arguments: --key without a value is a flag's true, and an error for any other key", "[train]") {
  CHECK(parse({example, "--plot_loss"}).plot_loss);
  CHECK(parse({example, "--include_num_input_tokens_seen"}).include_num_input_tokens_seen);
  says(error_of({example, "--output_dir"}), "the command line: output_dir: wants a value");
  says(error_of({example, "--output_dir", "--plot_loss"}), "output_dir: wants a value");
  says(error_of({example, "--show-prompt=3"}),
       "show_prompt is no key: wanted --show-prompt, a word of the command line");
  says(error_of({example, "version=1"}), "version is no key: wanted --version");
  says(error_of({example, "--dry-rn"}), "dry_rn is not a known key (did you mean dry-run?)");
  const Arguments twice = parse({example, "lora_rank=4", "lora_rank=16"});
  CHECK(twice.lora_rank == 16);
  says(io::listed(twice.notes), "the command line: lora_rank: given twice, the last one holds");
}

TEST_CASE("Arguments: what does not fit together is refused as LLaMA-Factory refuses it", "[train]") {
  says(error_with("eval_strategy=steps"), "set val_size or eval_dataset");
  says(error_with("val_size=1"), "val_size");
  says(error_with("template=null"), "template is not set");
  CHECK(error_of({example, "template=null", "stage=pt"}) == "");
  says(error_of({example, "val_size=0.1", "eval_dataset=identity"}), "cannot be combined with eval_dataset");
  says(error_of({example, "train_on_prompt=true", "mask_history=true"}), "mask_history");
  says(error_of({example, "finetuning_type=full", "adapter_name_or_path=x"}), "needs finetuning_type: lora");
  says(error_with("image_max_pixels=10"), "below image_min_pixels");
  says(error_with("early_stopping_steps=2"), "needs load_best_model_at_end");
  says(error_of({example, "load_best_model_at_end=true", "val_size=0.1", "eval_strategy=steps", "eval_steps=300"}),
       "multiple of eval_steps");
  says(error_with("do_train=false"), "nothing to do");
  says(error_with("freeze_language_model=true"), "nothing would be trained");
  says(error_with("lr_scheduler_type=cosine_with_min_lr"), "needs one of min_lr");
}

TEST_CASE("Arguments: streaming wants max_steps, counts and no other order", "[train]") {
  const auto error = [](std::vector<std::string> more) {
    more.insert(more.begin(), {example, "streaming=true", "max_steps=10", "max_samples=null"});
    return error_of(more);
  };
  CHECK(error({"val_size=20", "buffer_size=100"}) == "");
  says(error({"max_steps=-1"}), "streaming needs max_steps");
  says(error({"tokenized_path=saved"}), "tokenized_path cannot be combined with streaming");
  says(error({"max_samples=10"}), "max_samples cannot be combined with streaming");
  says(error({"val_size=0.1"}), "wanted a number of rows");
  says(error({"mix_strategy=interleave_under"}), "take concat");
  says(error({"disable_shuffling=true"}), "disable_shuffling has no effect on streaming");
  says(error({"train_sampling_strategy=group_by_length"}), "needs the lengths of all rows");
  says(error({"buffer_size=0"}), "buffer_size");
}
