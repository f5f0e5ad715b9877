// What trains, and what of an adapter's folder counts, on real files.
#include <fstream>
#include <nlohmann/json.hpp>

#include <lamina/checkpoint/adapter.hpp>
#include <lamina/model/open_model.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

TrainableOptions options_of(const nlohmann::json& row) {
  TrainableOptions options;
  using Method = TrainableOptions::Method;
  const std::string method = row["finetuning_type"];
  options.method = method == "lora" ? Method::lora : method == "full" ? Method::full : Method::freeze;
  options.freeze_trainable_layers = row.value("freeze_trainable_layers", 2);
  if (row.value("lora_target", "all") == "q_proj,v_proj") options.lora_target = {"q_proj", "v_proj"};
  options.freeze_vision_tower = row["freeze_vision_tower"];
  options.freeze_multi_modal_projector = row["freeze_multi_modal_projector"];
  options.freeze_language_model = row["freeze_language_model"];
  options.device = "cpu";
  return options;
}

/// A LoRA run of one step on data/tables.
Program train(const fs::path& model, const fs::path& out, std::vector<std::string> more) {
  std::vector<std::string> words = {LAMINA_SOURCE_DIR "/examples/configs/quickstart_lora_sft.yaml",
                                    "model_name_or_path=" + model.string(),
                                    "dataset_dir=" LAMINA_SOURCE_DIR "/data",
                                    "output_dir=" + out.string(),
                                    "dataset=tables_train",
                                    "max_samples=2",
                                    "max_steps=1",
                                    "lr_scheduler_type=constant",
                                    "per_device_train_batch_size=1",
                                    "gradient_accumulation_steps=1",
                                    "save_strategy=no"};
  words.insert(words.end(), more.begin(), more.end());
  return run_program("lamina-train", words);
}
bool says(const Program& program, std::string_view words) { return testing::contains(program.output, words); }

}  // namespace

TEST_CASE("trainable parameters: as many as in LLaMA-Factory for every method and freeze flag") {
  const TemporaryFolder folder;
  std::ifstream in(LAMINA_GOLDEN_DIR "/llamafactory/trainable_counts.json");
  for (const auto& row : nlohmann::json::parse(in)) {
    const std::string name = row["model"];
    const fs::path model = folder.path() / name;
    if (!fs::exists(model)) REQUIRE(make_model(name, model).status == 0);
    INFO(row.dump());
    std::int64_t count = 0;
    const std::string error = error_of([&] { count = open_for_training(model, options_of(row))->trainable_count(); });
    CHECK(count == row["trainable"].get<std::int64_t>());
    CHECK((count == 0) == (error != ""));
  }
}

TEST_CASE("lamina-train: a continued adapter keeps its own settings, and others that are given have no effect") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model", first = folder.path() / "first", second = folder.path() / "second";
  REQUIRE(make_model("qwen3_vl_tiny", model).status == 0);
  REQUIRE(
      train(model, first, {"lora_rank=4", "lora_alpha=12", "lora_dropout=0.25", "lora_target=q_proj,v_proj"}).status ==
      0);
  const Program run =
      train(model, second, {"adapter_name_or_path=" + first.string() + "/", "lora_rank=16", "lora_dropout=0.0"});
  INFO(run.output);
  REQUIRE(run.status == 0);
  CHECK(says(run, "lora_rank has no effect: " + first.string() + " goes on with its own, 4"));
  CHECK(says(run, "lora_dropout has no effect: " + first.string() + " goes on with its own, 0.25"));
  const auto before = checkpoint::AdapterConfig::load(first), after = checkpoint::AdapterConfig::load(second);
  CHECK(after.r == 4);
  CHECK(after.lora_alpha == 12);
  CHECK(after.lora_dropout == 0.25);
  CHECK(after.target_modules == before.target_modules);
  CHECK(after.task_type == before.task_type);

  // Dropout is drawn in the step itself: with another lora_dropout in the adapter's config the weights come out other.
  const auto b_of = [](const fs::path& dir) {
    const auto adapter = checkpoint::Adapter::load(dir);
    return adapter.read(adapter.pairs().front().b);
  };
  std::ifstream in(first / "adapter_config.json");
  auto config = nlohmann::ordered_json::parse(in);
  config["lora_dropout"] = 0.0;
  std::ofstream(first / "adapter_config.json") << config.dump(2);
  REQUIRE(train(model, folder.path() / "third", {"adapter_name_or_path=" + first.string()}).status == 0);
  const bool same = b_of(second) == b_of(folder.path() / "third");
  CHECK(!same);
}

TEST_CASE("lamina-train: a rank that no machine has room for is named with what it needs") {
  const TemporaryFolder folder;
  REQUIRE(make_model("qwen3_vl_nano", folder.path() / "model").status == 0);
  const Program run = train(folder.path() / "model", folder.path() / "out", {"lora_rank=1000000000"});
  INFO(run.output);
  CHECK(run.status == 1);
  CHECK(says(run, "lamina-train: lora_rank 1000000000: the model needs "));
  CHECK(says(run, " are free: lower lora_rank"));
}

TEST_CASE("programs: an adapter's folder as the model, a hub's name and half an adapter are refused by name") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model", adapter = folder.path() / "adapter";
  REQUIRE(make_model("qwen3_vl_tiny", model).status == 0);
  REQUIRE(train(model, adapter, {}).status == 0);
  const auto chat = [&](const fs::path& path) {
    return run_program("lamina-chat", {"--model", path.string(), "--prompt", "x"});
  };
  const auto serve = [&](const fs::path& path) { return run_program("lamina-serve", {"--model", path.string()}); };
  const auto merge = [&](const fs::path& base, const fs::path& with) {
    return run_program("lamina-merge", {"--model_name_or_path", base.string(), "--adapter_name_or_path", with.string(),
                                        "--export_dir", (folder.path() / "out/").string()});
  };
  for (const Program& p :
       {chat(adapter), serve(adapter), merge(adapter, adapter), train(adapter, folder.path() / "x", {})}) {
    CHECK(p.status == 1);
    CHECK(says(p, adapter.string() +
                      ": is the folder of an adapter (it holds adapter_config.json), not a model: give its "
                      "base model (" +
                      model.string() + ")"));
  }
  ::setenv("HF_HUB_OFFLINE", "1", 1), ::setenv("HF_HUB_CACHE", (folder.path() / "hub").c_str(), 1);
  for (const Program& p : {chat("Qwen/Qwen3-VL-2B-Instruct"), serve("Qwen/Qwen3-VL-2B-Instruct"),
                           merge("Qwen/Qwen3-VL-2B-Instruct", adapter), merge(model, "me/lora")})
    CHECK(says(p, "is no folder here, and not to be had from https://huggingface.co"));
  ::unsetenv("HF_HUB_OFFLINE"), ::unsetenv("HF_HUB_CACHE");

  CHECK(merge(model, adapter).status == 0);
  std::ifstream card(folder.path() / "out/README.md");
  CHECK(testing::contains(std::string(std::istreambuf_iterator<char>(card), {}), "\n# out\n"));

  std::ofstream(adapter / "non_lora_state_dict.bin") << "x";
  const std::string with_adapter = "adapter_name_or_path=" + adapter.string();
  const std::vector<Program> all = {
      merge(model, adapter), train(model, folder.path() / "y", {with_adapter}),
      run_program("lamina-chat", {"--model", model.string(), "--adapter", adapter.string(), "--prompt", "x"}),
      run_program("lamina-serve", {"--model", model.string(), "--adapter", adapter.string()})};
  for (const Program& p : all) {
    CHECK(p.status == 1);
    CHECK(says(p, "next to the adapter there is non_lora_state_dict.bin, which may hold other trained weights"));
  }
}

TEST_CASE("programs: config.json that says another arithmetic, and weights without a place, are refused") {
  const TemporaryFolder folder;
  const fs::path model = folder.path() / "model";
  REQUIRE(make_model("qwen3_vl_tiny", model).status == 0);
  std::ifstream in(model / "config.json");
  const auto config = nlohmann::ordered_json::parse(in);
  const auto chat_with = [&](const nlohmann::ordered_json& changed) {
    std::ofstream(model / "config.json") << changed;
    return run_program("lamina-chat", {"--model", model.string(), "--prompt", "x", "--max-tokens", "1"});
  };
  CHECK(chat_with(config).status == 0);
  auto changed = config;
  changed["text_config"]["rms_norm_eps"] = 1e-3;
  CHECK(says(chat_with(changed), "text_config.rms_norm_eps is 0.001, qwen3_vl_tiny has 1e-06"));
  changed = config;
  changed["text_config"]["rope_scaling"]["mrope_section"] = {16, 24, 24};
  CHECK(says(chat_with(changed), "text_config.mrope_section is [16, 24, 24], qwen3_vl_tiny has [24, 20, 20]"));
  changed = config;
  changed["vision_config"]["patch_size"] = 14;
  CHECK(says(chat_with(changed),
             "patch_size of the image processor is 16, vision_config.patch_size of config.json is 14"));
}
