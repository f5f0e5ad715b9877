// Against runs of LLaMA-Factory itself: tests/golden/llamafactory holds their configurations and outputs.
#include <lamina/train/arguments/parse.hpp>
#include <lamina/train/report/log.hpp>
#include <lamina/train/save/model_writer.hpp>

#include <fstream>

#include "support/catch.hpp"
#include "train/fake_run.hpp"
#include "train/helpers.hpp"

using namespace lamina;
using namespace lamina::train;

namespace {
const std::filesystem::path golden_runs = LAMINA_GOLDEN_DIR "/llamafactory";

nlohmann::json json_in(const std::filesystem::path& path) { return nlohmann::json::parse(std::ifstream(path)); }
std::vector<OrderedJson> lines_of(const std::filesystem::path& path) {
  std::vector<OrderedJson> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(OrderedJson::parse(line));
  return lines;
}
std::vector<std::string> keys_of(const OrderedJson& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}
/// The modules with a weight of the tiny model that the run was made with.
std::vector<std::string> tiny_modules(bool is_qwen2_5) {
  std::vector<std::string> modules = {"model.language_model.embed_tokens", "model.language_model.norm",
                                      "model.visual.patch_embed.proj"};
  const auto add = [&](const std::string& at, std::initializer_list<const char*> names) {
    for (const char* name : names) modules.push_back(at + name);
  };
  for (int i = 0; i < 4; ++i) {
    const std::string text = cat("model.language_model.layers.", i, "."), vision = cat("model.visual.blocks.", i, ".");
    add(text, {"input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj",
               "self_attn.v_proj", "self_attn.o_proj"});
    add(text, {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"});
    add(vision, {"norm1", "norm2", "attn.qkv", "attn.proj"});
    if (is_qwen2_5)
      add(vision, {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"});
    else
      add(vision, {"mlp.linear_fc1", "mlp.linear_fc2"});
  }
  if (is_qwen2_5) {
    add("model.visual.merger.", {"ln_q", "mlp.0", "mlp.2"});
    return modules;
  }
  for (const char* merger :
       {"merger.", "deepstack_merger_list.0.", "deepstack_merger_list.1.", "deepstack_merger_list.2."})
    add(std::string("model.visual.") + merger, {"norm", "linear_fc1", "linear_fc2"});
  add("model.visual.", {"pos_embed"});
  return modules;
}
}  // namespace

TEST_CASE("LLaMA-Factory: its configurations are read, and its steps, rates, epochs and log lines are ours",
          "[train]") {
  int runs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden_runs)) {
    if (!std::filesystem::exists(entry.path() / "config.yaml")) continue;
    INFO(entry.path());
    ++runs;
    const Arguments a = parse_arguments(std::vector<std::string>{(entry.path() / "config.yaml").string()});
    const auto rows = static_cast<std::int64_t>(json_in(entry.path() / "samples.json").size());
    const StepCounts plan = count_steps(rows, a.per_device_train_batch_size, a.gradient_accumulation_steps,
                                        a.num_train_epochs, a.max_steps);
    const Schedule schedule(a.schedule, a.optimizer.learning_rate, plan.total_steps);
    const auto dir = fake::fresh_directory("log");
    TrainerLog log(dir, 0);
    const auto wanted = lines_of(entry.path() / "trainer_log.jsonl");
    for (const OrderedJson& line : wanted) {
      const auto step = line["current_steps"].get<std::int64_t>();
      CHECK(line["total_steps"] == plan.total_steps);
      CHECK(line["epoch"] == plan.epoch_at(step));
      if (line.contains("lr")) CHECK(fake::near(line["lr"].get<double>(), schedule.rate(step - 1)));
      OrderedJson event = {{"epoch", line["epoch"]}};
      if (line.contains("loss")) event.update({{"loss", line["loss"]}, {"learning_rate", line["lr"]}});
      log.write(event, {.step = step, .total_steps = plan.total_steps, .first_step = 0, .elapsed_s = 1}, {});
    }
    const auto ours = lines_of(dir / "trainer_log.jsonl");
    REQUIRE(ours.size() == wanted.size());
    for (std::size_t i = 0; i < ours.size(); ++i) {
      CHECK(keys_of(ours[i]) == keys_of(wanted[i]));
      for (const char* key : {"current_steps", "total_steps", "epoch", "percentage"})
        CHECK(ours[i][key] == wanted[i][key]);
    }
  }
  CHECK(runs >= 5);
}

TEST_CASE("Adapter: target_modules are the endings that PEFT writes", "[train]") {
  int runs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden_runs)) {
    if (!std::filesystem::exists(entry.path() / "adapter_config.json")) continue;
    INFO(entry.path());
    ++runs;
    std::set<std::string> adapted, others;
    for (const auto& tensor : json_in(entry.path() / "adapter.json"))
      adapted.insert(train::detail::lora_module(tensor["name"].get<std::string>()));
    for (const std::string& module : tiny_modules(entry.path().filename().string().ends_with("qwen2_vl")))
      if (!adapted.contains(module)) others.insert(module);
    auto wanted = json_in(entry.path() / "adapter_config.json")["target_modules"].get<std::vector<std::string>>();
    std::sort(wanted.begin(), wanted.end());
    CHECK(train::detail::target_modules(adapted, others) == wanted);
  }
  CHECK(runs >= 4);
}
