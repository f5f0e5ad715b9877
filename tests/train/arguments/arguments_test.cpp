#include <lamina/train/arguments/keys.hpp>
#include <lamina/train/arguments/parse.hpp>
#include <lamina/train/memory_advice.hpp>

#include <fstream>
#include <set>

#include "support/catch.hpp"
#include "train/arguments/parsed.hpp"

using namespace lamina;
using namespace lamina::train;
using namespace lamina::test::arguments;

TEST_CASE("Arguments: the example file is read as LLaMA-Factory reads it", "[train]") {
  const Arguments a = parse({example});
  CHECK(a.model_name_or_path == "./qwen3_vl_model");
  CHECK(a.dataset == std::vector<std::string>{"mllm_demo", "identity", "alpaca_en_demo"});
  CHECK(a.gradient_accumulation_steps == 8);
  CHECK(a.optimizer.learning_rate == 1e-4);
  CHECK(a.schedule.type == ScheduleType::cosine);
  CHECK(a.schedule.warmup_steps == 0.1);
  CHECK(!a.resume_from_checkpoint);
  CHECK(a.plot_loss);
  const TrainableOptions o = trainable_options(a);
  CHECK(o.lora_alpha == 16);
  CHECK_FALSE(o.recompute.has_value());  // the memory plan decides
  CHECK(a.notes.size() == 4);            // bf16, overwrite_cache, preprocessing_num_workers, trust_remote_code
}

TEST_CASE("Arguments: the example of QLoRA stores the decoder in 4 bits, and is that of LoRA else", "[train]") {
  const Arguments lora = parse({example}),
                  qlora = parse({LAMINA_SOURCE_DIR "/examples/configs/qwen3_vl_qlora_sft.yaml"});
  CHECK(name_of(trainable_options(qlora).quantization) == "nf4, double quantised");
  CHECK(qlora.given.size() == lora.given.size() + 4);
  CHECK(qlora.notes.size() == lora.notes.size());
}

TEST_CASE("Arguments: optim_args belongs to sgd", "[train]") {
  CHECK(parse({example, "optim=sgd", "optim_args=momentum=0, nesterov=false"}).optimizer_kind == OptimizerKind::sgd);
  const Arguments a = parse({example, "optim=sgd", "optim_args=momentum=0.9, nesterov=true"});
  CHECK(a.optimizer_kind == OptimizerKind::sgd_momentum);
  CHECK(a.optimizer.momentum == 0.9);
  CHECK(a.optimizer.nesterov);
  says(error_of({example, "optim=sgd", "optim_args=momentum=x"}), "momentum is x, wanted a number");
  says(error_of({example, "optim=sgd", "optim_args=nesterov=true"}), "nesterov needs a momentum");
  says(error_of({example, "optim=sgd", "optim_args=dampening=0.1"}), "dampening needs a momentum");
  says(error_of({example, "optim=sgd", "optim_args=weight_decay=0.1"}), "weight_decay is a key of its own");
  std::string notes;
  for (const std::string& note : parse({example, "optim_args=momentum=0.9"}).notes) notes += note + "\n";
  says(notes, "optim_args has no effect without optim: sgd");
}

TEST_CASE("Arguments: pure_bf16 is for whole weights, and for rules that look at single values", "[train]") {
  CHECK(trainable_options(parse({example, "pure_bf16=true", "finetuning_type=full"})).pure_bf16);
  std::string notes;
  for (const std::string& note : parse({example, "pure_bf16=true"}).notes) notes += note + "\n";
  says(notes, "adapters are fp32, as PEFT keeps them");
  says(error_of({example, "pure_bf16=true", "finetuning_type=full", "optim=adafactor"}), "needs optim: adamw_torch");
}

TEST_CASE("Arguments: numbers, flags and null are read in every spelling", "[train]") {
  for (const char* spelling :
       {"learning_rate=1e-4", "learning_rate=1.0e-4", "learning_rate=0.0001", "learning_rate=+1E-4"})
    CHECK(parse({example, spelling}).optimizer.learning_rate == 1e-4);
  for (const char* spelling : {"plot_loss=false", "plot_loss=no", "plot_loss=Off", "plot_loss=0"})
    CHECK(!parse({example, spelling}).plot_loss);
  CHECK(parse({example, "lora_rank=null"}).lora_rank == 8);
  CHECK(parse({example, "resume_from_checkpoint=true"}).resume_from_checkpoint == std::optional<std::string>("true"));
  CHECK(!parse({example, "enable_thinking=null"}).enable_thinking);
  CHECK(parse({example, "lora_target=[q_proj, v_proj]"}).lora_target == std::vector<std::string>{"q_proj", "v_proj"});
}

TEST_CASE("Arguments: flags and JSON files mean the same as YAML", "[train]") {
  const std::vector<std::string> flags = {"--model_name_or_path", "m",        "--dataset",      "d",
                                          "--template",           "qwen2_vl", "--output_dir=o", "--do_train",
                                          "--learning_rate",      "1e-3"};
  CHECK(parse(flags).optimizer.learning_rate == 1e-3);
  CHECK(parse(flags).do_train);
  const auto json = file_of(
      "a.json",
      R"({"model_name_or_path": "m", "dataset": ["d", "e"], "template": "qwen2_vl", "output_dir": "o", "do_train": true, "learning_rate": 0.001, "lora_alpha": null})");
  CHECK(parse({json, "lora_rank=4"}).dataset.size() == 2);
  CHECK(parse({json, "lora_rank=4"}).lora_rank == 4);
}

TEST_CASE("Arguments: every key is refused or noted or honoured, and none is silent", "[train]") {
  std::set<std::string_view> names;
  for (const TrainKey& key : all_keys()) {
    INFO(key.name);
    CHECK(names.insert(key.name).second);
    CHECK_FALSE(key.note.empty());
    const std::string number = key.range.holds(7) ? "7" : key.range.holds(0.7) ? "0.7" : "0.1";
    const std::string other = key.type == KeyType::flag ? (key.inert == "true" ? "false" : "true")
                              : key.type == KeyType::integer || key.type == KeyType::number ? number
                                                                                            : "{something: 1}";
    const std::string value = key.type == KeyType::text || key.type == KeyType::list ? "something" : other;
    io::Settings one = {{std::string(key.name), {io::detail::parse_scalar(value, std::string(key.name)), "here"}}};
    std::vector<std::string> notes;
    if (key.status == KeyStatus::refused)
      CHECK_THROWS_AS(io::check_keys(all_keys(), one, notes), Error);
    else
      io::check_keys(all_keys(), one, notes);
    CHECK(notes.size() == (key.status == KeyStatus::accepted ? 1u : 0u));
    one.begin()->second.value = std::string(key.inert);
    notes.clear();
    if (!key.inert.empty()) CHECK_NOTHROW(io::check_keys(all_keys(), one, notes));
    CHECK(notes.empty());
  }
}

TEST_CASE("Arguments: a default that --keys shows, given, is the default", "[train]") {
  for (const TrainKey& key : all_keys()) {
    if (key.status != KeyStatus::honoured || key.default_text().empty()) continue;
    INFO(key.name << ": " << key.default_text());
    const Setting given{key.default_text(), "here"};
    CHECK_NOTHROW(io::check_type(key, given));
    if (!key.fill || !key.show) continue;
    Arguments a;
    key.fill(a, given, key.name);
    CHECK(key.show(a) == key.default_text());
  }
}

TEST_CASE("Arguments: --keys shows a key's default and what it means", "[train]") {
  CHECK(keys_text().find("\nlora_rank: 8   # of new adapters\n") != std::string::npos);
}

TEST_CASE("Arguments: every key of LLaMA-Factory and transformers is known", "[train]") {
  for (const auto& name : nlohmann::json::parse(std::ifstream(LAMINA_GOLDEN_DIR "/train/llamafactory_keys.json"))) {
    INFO(name);
    CHECK(io::find_key(all_keys(), name.get<std::string>()) != nullptr);
  }
}

TEST_CASE("Arguments: a misspelt key is named with its place and the nearest key", "[train]") {
  says(error_with("lora_rnak=8"), "lora_rnak is not a known key (did you mean lora_rank?)");
  const auto yaml = file_of("b.yaml", "model_name_or_path: m\n\nlerning_rate: 1\n");
  says(error_of({yaml}), "b.yaml line 3: lerning_rate is not a known key (did you mean learning_rate?)");
  says(error_with("lr_scheduler_kwargs.num_cycle=2"), "takes no num_cycle (did you mean num_cycles?)");
  says(error_with("lr_scheduler_type=cosin"), "reduce_lr_on_plateau (did you mean cosine?)");
  says(error_with("lr_scheduler_type=exponential") + "|",
       "cosine_with_min_lr, cosine_warmup_with_min_lr, warmup_stable_decay, reduce_lr_on_plateau|");
}

TEST_CASE("Arguments: warmup_ratio wins over warmup_steps, 0.0 too, as in transformers 5", "[train]") {
  const auto words = [](std::vector<std::string> more) {
    more.insert(more.begin(), {example, "warmup_ratio=null"});
    return more;
  };
  CHECK(parse(words({"warmup_steps=7"})).schedule.warmup_steps == 7);
  CHECK(parse(words({"warmup_steps=0.2"})).schedule.warmup_steps == 0.2);
  const Arguments both = parse(words({"warmup_steps=7", "warmup_ratio=0.0"}));
  CHECK(both.schedule.warmup_steps == 0);
  says(io::listed(both.notes), "warmup_steps: 7 has no effect: warmup_ratio: 0 decides");
  CHECK(parse(words({"warmup_steps=7", "warmup_ratio=0.1"})).schedule.warmup_steps == 0.1);
  says(error_of(words({"warmup_ratio=1"})), "a number of steps goes into warmup_steps");
}

TEST_CASE("Arguments: what LLaMA-Factory obeys is obeyed or refused", "[train]") {
  CHECK(parse({example, "use_cpu=true"}).device == "cpu");
  CHECK(parse({example, "use_cpu=false", "device=cuda"}).device == "cuda");
  says(error_of({example, "use_cpu=true", "device=cuda"}), "use_cpu: true contradicts device: cuda");
  for (const char* refused : {"ignore_pad_token_for_loss=false", "eval_num_beams=2", "generation_num_beams=4",
                              "generation_config=x.json", "accelerator_config={use_seedable_sampler: false}",
                              "accelerator_config={gradient_accumulation_kwargs: {num_steps: 2}}",
                              "accelerator_config.split_batches=true", "accelerator_config.even_batches=false"})
    says(error_with(refused), "is refused");
  for (const char* default_value : {"ignore_pad_token_for_loss=true", "eval_num_beams=1", "generation_num_beams=null",
                                    "accelerator_config={use_seedable_sampler: true, even_batches: true}"})
    CHECK(parse({example, default_value}).notes.size() == 4);
  for (const char* accepted : {"fp16=true", "fp16_full_eval=true", "use_unsloth_gc=true"})
    CHECK(parse({example, accepted}).notes.size() == 5);
  says(error_with("accelerator_config={seedable: true}"), "accelerator_config has no seedable");
  says(io::listed(parse({example, "accelerator_config.dispatch_batches=true"}).notes),
       "accelerator_config.dispatch_batches: true has no effect: each process reads its own rows");
  const auto each = [](std::vector<std::string> more) {
    more.insert(more.begin(), {example, "eval_dataset=a, b", "eval_on_each_dataset=true", "eval_strategy=epoch"});
    return more;
  };
  CHECK(parse(each({})).eval_metrics() == std::vector<std::string>{"eval_a_loss", "eval_b_loss"});
  CHECK(parse(each({"metric_for_best_model=b_loss"})).best_metric() == "eval_b_loss");
  says(error_of(each({"save_strategy=epoch", "load_best_model_at_end=true"})),
       "metric_for_best_model: eval_loss is not computed, wanted one of eval_a_loss, eval_b_loss");
  says(error_of(each({"predict_with_generate=true"})), "is not built for answers");
  says(parse({example, "eval_on_each_dataset=true", "val_size=2"}).notes.back(),
       "eval_on_each_dataset has no effect without eval_dataset");
  CHECK_FALSE(parse({example, "train_sampling_strategy=random"}).keeps_order());
  CHECK(parse({example, "train_sampling_strategy=sequential"}).keeps_order());
  CHECK(parse({example, "disable_shuffling=true", "train_sampling_strategy=random"}).keeps_order());
  says(error_with("train_sampling_strategy=shuffled"), "is unknown, wanted random, sequential or group_by_length");
  CHECK(parse({example, "group_by_length=true"}).groups_by_length());
  CHECK_FALSE(parse({example, "group_by_length=true", "disable_shuffling=true"}).groups_by_length());
  says(error_of({example, "group_by_length=true", "train_sampling_strategy=random"}), "keep one");
  says(error_with("lr_scheduler_type=reduce_lr_on_plateau"), "needs an eval_strategy");
  const std::vector<std::string> plateau = {example, "lr_scheduler_type=reduce_lr_on_plateau", "val_size=2",
                                            "eval_strategy=steps"};
  const auto with_kwargs = [&](const std::string& kwargs) {
    std::vector<std::string> words = plateau;
    words.push_back("lr_scheduler_kwargs=" + kwargs);
    return words;
  };
  CHECK(parse(with_kwargs("{patience: 3, mode: max}")).schedule.plateau.patience == 3);
  says(error_of(with_kwargs("{mode: most}")), "wanted min or max");
  says(error_of(with_kwargs("{factor: 1}")), "factor is 1, wanted below 1");
  says(error_of({example, "use_dft_loss=true", "label_smoothing_factor=0.1"}), "keep one");
  says(error_with("label_smoothing_factor=1"), "wanted 0 up to below 1");
  says(error_with("pissa_init=true"), "needs pissa_convert: true");
  says(error_of({example, "pissa_init=true", "pissa_convert=true", "finetuning_type=full"}),
       "needs finetuning_type: lora");
  says(error_of({example, "loraplus_lr_ratio=4", "finetuning_type=full"}), "needs finetuning_type: lora");
  CHECK(parse({example, "tokenized_path=saved"}).tokenized_path == "saved");
  CHECK(parse({example, "dataloader_drop_last=true"}).dataloader_drop_last);
  says(error_of({example, "dataloader_drop_last=true", "do_predict=true", "predict_with_generate=true", "val_size=2"}),
       "would leave the last records unanswered");
  says(error_with("save_steps=2.5"), "wanted a whole number of steps");
  says(error_with("eval_on_start=true"), "needs rows to evaluate on");
  says(error_of({example, "load_best_model_at_end=true", "save_strategy=no"}), "needs an eval_strategy");
  for (const char* no : {"save_strategy=no", "save_strategy=No", "save_strategy=OFF", "save_strategy=false"})
    CHECK(parse({example, no}).save_strategy == Interval::no);
  CHECK(parse({example, "resume_from_checkpoint=yes"}).resume_from_checkpoint == "true");
  CHECK_FALSE(parse({example, "resume_from_checkpoint=off"}).resume_from_checkpoint);
  says(io::listed(parse({example, "preprocessing_num_workers=4"}).notes), "has no effect without packing");
  says(error_with("preprocessing_num_workers=0"), "wanted at least 1");
  says(error_of({example, "neat_packing=true", "cutoff_len=1"}), "wanted at least 2");
  says(parse({example, "adapter_folder=x"}).notes.back(), "adapter_folder has no effect without adapter_name_or_path");
  says(io::listed(parse({example, "optim=sgd", "adam_epsilon=1e-6"}).notes),
       "adam_epsilon has no effect without optim:");
  says(io::listed(parse({example, "quantization_type=fp4"}).notes),
       "quantization_type has no effect without quantization_bit");
  says(io::listed(parse({example, "finetuning_type=full"}).notes),
       "lora_rank has no effect without finetuning_type: lora");
  says(error_with("finetuning_type=dora"), "take finetuning_type: lora and use_dora: true");
  says(parse({example, "do_train=false", "do_eval=true", "val_size=0.1", "resume_from_checkpoint=x"}).notes.back(),
       "resume_from_checkpoint has no effect without do_train: true");
}

TEST_CASE("Arguments: DeepSpeed's and FSDP's settings share out the optimizer, and the rest of them is said",
          "[train]") {
  const auto with = [](std::vector<std::string> more) {
    more.insert(more.begin(), {example, "finetuning_type=full"});
    return parse(more);
  };
  const auto stage_2 = file_of("ds.json", R"({"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto",
      "gradient_clipping": "auto", "bf16": {"enabled": "auto"},
      "zero_optimization": {"stage": 2, "overlap_comm": false}})");
  const Arguments two = with({"deepspeed=" + stage_2});
  CHECK((two.shards_optimizer && two.shards_gradients));
  CHECK(io::listed(two.notes).find("stage 2") == std::string::npos);  // all that it asks for is done
  says(io::listed(two.notes), "deepspeed: bf16, overlap_comm have no effect: there is no DeepSpeed here");
  CHECK_FALSE(with({"deepspeed={zero_optimization: {stage: 0}}"}).shards_optimizer);
  const Arguments first = with({"deepspeed={zero_optimization: {stage: 1}}"});
  CHECK((first.shards_optimizer && !first.shards_gradients));
  const Arguments three = with({"deepspeed=examples/deepspeed/ds_z3_offload_config.json"});
  CHECK((three.shards_optimizer && three.shards_gradients));
  says(io::listed(three.notes), "it is read as LLaMA-Factory's file of that name");
  says(io::listed(three.notes), "the optimizer's state and the gradients; weights stay whole on each");
  says(io::listed(three.notes), "deepspeed: offload_optimizer has no effect: everything stays on the GPU");
  says(io::listed(parse({example, "deepspeed=" + stage_2}).notes), "the optimizer of adapters is small");
  says(error_with("deepspeed=ds_mine.json"), "there is no file ds_mine.json");
  says(error_with("deepspeed={zero_optimization: {stage: 4}}"), "stage is 4, wanted 0 to 3");
  says(error_with("deepspeed={optimizer: {type: AdamW}}"), "optimizer is refused: learning_rate");
  says(error_with("deepspeed={gradient_clipping: 0.5}"), "gradient_clipping is 0.5, but max_grad_norm makes it 1");
  const Arguments full_shard = with({"fsdp=full_shard auto_wrap"});
  CHECK((full_shard.shards_optimizer && full_shard.shards_gradients));
  says(io::listed(full_shard.notes), "fsdp: full_shard: processes share out");
  CHECK(with({"fsdp=[shard_grad_op, offload]"}).shards_gradients);
  CHECK_FALSE(with({"fsdp=no_shard"}).shards_optimizer);
  says(error_with("fsdp=some_shard"), "wanted full_shard");
}

TEST_CASE("Arguments: prediction takes LLaMA-Factory's generating arguments, with its defaults", "[train]") {
  const std::vector<std::string> words = {example, "do_train=false", "do_predict=true", "predict_with_generate=true",
                                          "eval_dataset=tables_heldout"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), words.begin(), words.end());
    return more;
  };
  const Arguments plain = parse(with({"val_size=0"}));
  CHECK(plain.answers.do_sample);
  CHECK(plain.answers.temperature == 0.95);
  CHECK(plain.answers.top_p == 0.7);
  CHECK(plain.answers.top_k == 50);
  CHECK(plain.answers.max_new_tokens == 1024);
  CHECK(plain.answers.skip_special_tokens);
  const Arguments greedy = parse(with({"do_sample=false", "temperature=0", "max_new_tokens=60", "seed=7"}));
  CHECK_FALSE(greedy.answers.do_sample);
  CHECK(greedy.answers.max_new_tokens == 60);
  CHECK(greedy.answers.seed == 7);
  says(error_of(with({"predict_with_generate=false"})), "needs predict_with_generate: true");
  says(error_of(with({"eval_dataset=null"})), "needs rows to answer: set eval_dataset or val_size");
  says(error_of(with({"temperature=0"})), "temperature is 0, wanted a positive number, or do_sample: false");
  says(error_of(with({"top_p=1.5"})), "top_p is 1.5, wanted above 0 up to 1");
  says(error_of(with({"num_beams=4"})), "without beam search");
  says(error_with("do_train=false"), "set do_train: true, do_eval: true or do_predict: true");
  says(error_with("predict_with_generate=true"), "predict_with_generate needs rows to answer");
  says(parse({example, "predict_with_generate=true", "val_size=0.1"}).notes.back(),
       "nothing is generated without do_eval: true or do_predict: true");
  const Arguments evaluates = parse(with({"do_predict=false", "do_eval=true"}));
  CHECK(evaluates.generates());
  CHECK_FALSE(evaluates.evaluates_loss());
  says(error_of(with({"prediction_loss_only=true"})), "contradicts predict_with_generate");
  says(error_of(with({"jieba_dictionary=/nonexistent.txt"})), "jieba_dictionary: /nonexistent.txt is not a file");
}

TEST_CASE("arguments: the advice about memory names keys that there are") {
  std::string keys(what_lowers_memory);
  while (!keys.empty()) {
    const std::string key = keys.substr(0, keys.find_first_of(":,"));
    INFO(key);
    CHECK(std::ranges::any_of(all_keys(), [&](const TrainKey& known) { return known.name == key; }));
    const auto comma = keys.find(", ");
    keys = comma == std::string::npos ? "" : keys.substr(comma + 2);
  }
}
