// A family is one folder and one line: tests/third_family/ adds one that the library has never heard of.
#include <lamina/data/sample/template.hpp>
#include <lamina/merge/merge.hpp>
#include <lamina/model/config/read.hpp>
#include <lamina/model/model_facts.hpp>
#include <lamina/model/registered_models.hpp>
#include <lamina/text/prompt_template.hpp>
#include <lamina/train/step/trainable.hpp>
#include <lamina/vision/limit.hpp>
#include <lamina/vision/processor.hpp>

#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"
#include "third_family/family.hpp"

using namespace lamina;

namespace {

constexpr const char* config_json = R"({
  "model_type": "heron_vl",
  "text_config": {"vocab_size": 100, "hidden_size": 64, "intermediate_size": 128, "n_layers": 2,
                  "num_attention_heads": 2, "rms_norm_eps": 1e-5,
                  "rope_parameters": {"rope_theta": 10000, "mrope_section": [6, 5, 5]}},
  "vision_config": {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 64, "window_size": 64}
})";

ModelConfig heron_config() {
  const Scratch dir;
  spill(dir / "config.json", config_json);
  return ModelConfig::load(dir.dir());
}
text::Message says(std::string role, std::string words) {
  return {std::move(role), {{text::Part::Kind::text, std::move(words)}}, true, {}};
}

}  // namespace

TEST_CASE("a family of one's own: config.json with its names and defaults") {
  const ModelConfig c = heron_config();
  CHECK(c.family == &heron::family);
  CHECK(c.image_token_id == 7);
  CHECK(c.text_config.num_hidden_layers == 2);  // under the family's own name
  CHECK(c.text_config.head_dim == 32);
  CHECK(c.text_config.max_position_embeddings == 1024);
  CHECK(c.vision_config.patch_size == 8);
  CHECK(c.vision_config.fullatt_block_indexes == std::vector{1});
  const auto facts = facts_of_config(c, false);
  CHECK(std::ranges::count(facts, Fact("text_config.head_dim", 32)) == 1);
  CHECK(std::ranges::count(facts, Fact("vision_config.hidden_act", "gelu")) == 1);
  CHECK(std::ranges::count(facts, Fact("vision_config.fullatt_block_indexes has 1", 1)) == 1);
  CHECK(::contains(error_of([] { family_of("owl", "config.json"); }),
                   "known are qwen3_vl, qwen2_5_vl, qwen3, qwen3_moe, qwen3_vl_moe and heron_vl"));
}

TEST_CASE("a family of one's own: names of tensors, and the regions that freeze flags mean") {
  const checkpoint::NameRules& names = heron::family.names;
  CHECK(checkpoint::canonical_name("net.eye.0.weight", names) == "eye.0.weight");
  CHECK(checkpoint::canonical_name("net.layers.1.q.weight", names) == "decoder.layers.1.q.weight");
  CHECK(checkpoint::is_part("beak.up.weight", names));
  CHECK(!checkpoint::is_part("model.visual.merger.weight", names));

  const Regions& regions = heron::family.regions;
  CHECK(train::region_of("eye.0.weight", regions) == train::Region::vision_tower);
  CHECK(train::region_of("beak.up.weight", regions) == train::Region::projector);
  CHECK(train::region_of("decoder.layers.0.q.weight", regions) == train::Region::language);
  CHECK(visit_of("eye.0", regions) > visit_of("decoder.layers.0.q", regions));
  const std::vector<std::string> linears = {"eye.0.q", "beak.up", "decoder.layers.0.q"};
  TrainableOptions o;
  CHECK(train::lora_modules(linears, linears, regions, o) == std::set<std::string>{"decoder.layers.0.q"});
  o.freeze_vision_tower = false;
  CHECK(train::lora_modules(linears, linears, regions, o).contains("eye.0.q"));
  o.method = TrainableOptions::Method::full;
  CHECK(train::is_trained("eye.0.q.weight", 2, regions, o));
  CHECK(!train::is_trained("beak.up.weight", 2, regions, o));
  CHECK(head_tensor(heron::family) == "decoder.out.weight");
}

TEST_CASE("a family of one's own: prompts, training samples and Modelfile in its layout") {
  std::vector<text::Message> messages{says("system", "S"), says("user", "Q")};
  messages[1].parts.push_back({text::Part::Kind::image, ""});
  messages[1].plain = false;
  const auto own = text::PromptTemplate::released(heron::family.chat);
  CHECK(text::joined(own.render(messages, {.variables = {{"add_vision_id", true}}})) ==
        "<turn>rules: S<end><turn>human: QImage 1: [<see>]<end><turn>heron: ");
  const auto layout = data::ChatLayout::named("heron");
  const auto pairs = data::render_pairs(
      layout, {{data::Role::user, "Q"}, {data::Role::function, R"({"name": "f", "arguments": {}})"}}, "S", "", {});
  CHECK(pairs[0].source == std::vector<std::string>{"<turn>rules: S<end>", "<turn>human: Q<end><turn>heron: "});
  CHECK(pairs[0].target == std::vector<std::string>{"<call>\n{\"name\": \"f\", \"arguments\": {}}\n</call><end>"});
  CHECK(::contains(merge::modelfile_text("heron"), "PARAMETER stop \"<end>\""));
}

TEST_CASE("a family of one's own: its processor's defaults, classes and limits of shape") {
  const Scratch dir;
  spill(dir / "preprocessor_config.json", R"({"image_processor_type": "HeronImageProcessor"})");
  const auto p = vision::Processor::load(dir.dir(), heron::family.processor);
  CHECK((p.patch_size == 8 && p.merge_size == 4 && p.max_pixels == 65536));
  CHECK(p.std[0] == 0.25f);
  CHECK(vision::limited_size({320, 20}, 1, 1 << 20, p.shape) == vision::ImageSize{320, 32});
  spill(dir / "preprocessor_config.json", R"({"image_processor_type": "Qwen2VLImageProcessor"})");
  CHECK(::contains(error_of([&] { vision::Processor::load(dir.dir(), heron::family.processor); }),
                   "wanted \"HeronImageProcessor\""));
}

TEST_CASE("a family of one's own: lamina-merge folds an adapter into it, under the names of the base's file") {
  const Scratch dir;
  const auto model = dir / "model", adapter = dir / "adapter", merged = dir / "merged";
  std::filesystem::create_directory(model), std::filesystem::create_directory(adapter);
  spill(model / "config.json", config_json);
  const std::vector<float> ones(4, 1), a = {1, 2}, b = {1, 10};
  const auto tensor = [](std::string name, std::vector<std::int64_t> shape, const std::vector<float>& values) {
    return checkpoint::TensorData{std::move(name), DType::F32, std::move(shape), std::as_bytes(std::span(values))};
  };
  checkpoint::write_safetensors(
      model / "model.safetensors",
      std::vector{tensor("net.eye.0.q.weight", {2, 2}, ones), tensor("net.layers.0.q.weight", {2, 2}, ones)});
  const std::string module = "decoder.layers.0.q";
  checkpoint::AdapterConfig config;
  config.r = 1;
  config.lora_alpha = 2;
  config.target_modules = {"q"};
  checkpoint::write_adapter(adapter, config,
                            std::vector{tensor(checkpoint::peft_tensor_name(module, "lora_A"), {1, 2}, a),
                                        tensor(checkpoint::peft_tensor_name(module, "lora_B"), {2, 1}, b)});
  merge::MergeOptions options;
  options.model_name_or_path = model, options.adapter_name_or_path = {adapter}, options.export_dir = merged;
  CHECK(merge::run(options).merged_modules == 1);
  const auto out = checkpoint::Checkpoint::open(merged, heron::family.names);
  CHECK(checkpoint::read_f32(out, "net.layers.0.q.weight") == std::vector<float>{3, 5, 21, 41});  // 1 + 2 b a
  CHECK(checkpoint::read_f32(out, "net.eye.0.q.weight") == ones);
  CHECK(::contains(slurp(merged / "Modelfile"), "PARAMETER stop \"<end>\""));
}

TEST_CASE("families and models that a config.json cannot tell apart are an error with both names") {
  static constexpr Family one{.model_type = "twin",
                              .title = "One",
                              .relatives = {},
                              .names = {},
                              .regions = {},
                              .config = {},
                              .chat = {},
                              .templates = {},
                              .processor = {}},
      two{.model_type = "twin",
          .title = "Two",
          .relatives = {},
          .names = {},
          .regions = {},
          .config = {},
          .chat = {},
          .templates = {},
          .processor = {}};
  register_family(one), register_family(two);
  CHECK(::contains(error_of([] { find_family("twin"); }), "two families read model_type twin: One and Two"));

  const std::vector<RegisteredModel> models = {{"a", "heron_vl", {{"text_config.hidden_size", 64}}},
                                               {"b", "heron_vl", {{"text_config.hidden_size", 32}}},
                                               {"c", "heron_vl", {{"text_config.hidden_size", 64}}}};
  CHECK(::contains(error_of([&] { require_distinct(models); }), "a and c read the same config.json"));
  CHECK(error_of([&] { require_distinct(std::span(models).first(2)); }) == "");
}
