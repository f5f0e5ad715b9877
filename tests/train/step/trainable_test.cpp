#include <lamina/model/qwen3/family.hpp>
#include <lamina/model/qwen_vl/names.hpp>
#include <lamina/train/step/trainable.hpp>

#include "support/catch.hpp"
#include "train/helpers.hpp"

using namespace lamina;
using namespace lamina::train;
using fake::error_of;

namespace {

/// Linear layers of a small Qwen3-VL, and its modules with weights.
const std::vector<std::string> linears = {"model.visual.blocks.0.attn.qkv",
                                          "model.visual.blocks.0.attn.proj",
                                          "model.visual.merger.linear_fc1",
                                          "model.language_model.layers.0.self_attn.q_proj",
                                          "model.language_model.layers.0.self_attn.v_proj",
                                          "model.language_model.layers.0.mlp.up_proj"};
std::vector<std::string> modules() {
  std::vector<std::string> all = linears;
  for (const char* other : {"model.language_model.embed_tokens", "model.language_model.norm", "lm_head"})
    all.push_back(other);
  return all;
}
TrainableOptions targets(std::vector<std::string> names) {
  TrainableOptions options;
  options.lora_target = std::move(names);
  return options;
}
std::string target_error(const std::vector<std::string>& names) {
  return error_of([&] { lora_modules(linears, modules(), qwen_vl::regions, targets(names)); });
}

}  // namespace

TEST_CASE("lora_target: each name must adapt a layer", "[train]") {
  CHECK(lora_modules(linears, modules(), qwen_vl::regions, targets({"q_proj", "v_proj"})).size() == 2);
  CHECK(lora_modules(linears, modules(), qwen_vl::regions, targets({"all"})).size() == 3);
  CHECK(target_error({"q_proj", "v_porj"}) ==
        "lora_target: v_porj is in the name of no layer of this model (did you mean v_proj?); known are all, "
        "linear_fc1, proj, q_proj, qkv, up_proj, v_proj");
  CHECK(fake::contains(target_error({"q_proj", "something"}),
                       "lora_target: something is in the name of no layer of this model;"));
  CHECK(target_error({"q_proj", "lm_head"}) ==
        "lora_target: lm_head: adapters are built for the linear layers of decoder and vision tower alone");
  CHECK(fake::contains(target_error({"embed_tokens"}),
                       "lora_target: embed_tokens: adapters are built for the linear layers"));
  CHECK(fake::contains(target_error({"q_proj", "qkv"}),
                       "lora_target: qkv: freeze_vision_tower: true freezes every layer of that name"));
  CHECK(fake::contains(target_error({"linear_fc1"}), "freeze_multi_modal_projector: true"));
  CHECK(fake::contains(target_error({"all", "q_proj"}), "lora_target: all stands for all names: give it alone"));
  TrainableOptions frozen = targets({"all"});
  frozen.freeze_language_model = true;
  CHECK(fake::contains(error_of([&] { lora_modules(linears, modules(), qwen_vl::regions, frozen); }),
                       "leave no linear layer to adapt"));
}

TEST_CASE("lora_target: a part of a name means a layer next to a vision tower, and whole components in a text model",
          "[train]") {
  const std::string up = "model.language_model.layers.0.mlp.up_proj";
  CHECK(lora_modules(linears, modules(), qwen_vl::regions, targets({"up"})) == std::set<std::string>{up});
  const std::vector<std::string> text = {"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"};
  const auto chosen = [&](std::vector<std::string> names) {
    return lora_modules(text, text, qwen3::family.regions, targets(std::move(names)));
  };
  CHECK(chosen({"up_proj"}) == std::set<std::string>{text[1]});
  CHECK(chosen({"mlp.up_proj", text[0]}).size() == 2);
  CHECK(chosen({"all"}).size() == 2);
  CHECK(error_of([&] { chosen({"up"}); }) ==
        "lora_target: up ends the name of no layer of this model; known are all, q_proj, up_proj");
  CHECK(fake::contains(error_of([&] { chosen({"q_proj", "mlp"}); }), "lora_target: mlp ends the name of no layer"));
}

TEST_CASE("lora_target: experts and their routers get no adapter, and are refused by name", "[train]") {
  std::vector<std::string> all = linears;
  const std::string mlp = "model.language_model.layers.1.mlp.";
  const std::set<std::string> mixtures = {mlp + "gate", mlp + "experts.0.down_proj"};
  all.insert(all.end(), mixtures.begin(), mixtures.end());
  CHECK(lora_modules(all, modules(), qwen_vl::regions, targets({"all"}), mixtures).size() == 3);
  CHECK(fake::contains(error_of([&] {
                         lora_modules(all, modules(), qwen_vl::regions, targets({"q_proj", "down_proj"}), mixtures);
                       }),
                       "lora_target: down_proj: experts and their routers get no adapters"));
}

TEST_CASE("additional_target: modules by the ends of their names, each with all its tensors", "[train]") {
  std::vector<TensorSpec> tensors;
  for (std::string name : modules()) tensors.push_back({.path = Path{} / (name + ".weight"), .rank = 2});
  tensors.push_back({.path = Path{} / "model.visual.merger.linear_fc1.bias", .rank = 1});
  const auto chosen = [&](std::vector<std::string> names, const std::set<std::string>& adapted = {}) {
    TrainableOptions options;
    options.additional_target = std::move(names);
    return whole_tensors(tensors, adapted, qwen_vl::regions, options);
  };
  CHECK(chosen({"merger"}) ==
        std::set<std::string>{"model.visual.merger.linear_fc1.bias", "model.visual.merger.linear_fc1.weight"});
  CHECK(chosen({"norm", "embed_tokens"}) ==
        std::set<std::string>{"model.language_model.embed_tokens.weight", "model.language_model.norm.weight"});
  CHECK(chosen({"lm_head"}) == std::set<std::string>{"lm_head.weight"});
  std::erase_if(tensors, [](const TensorSpec& t) { return t.path.view() == "lm_head.weight"; });
  CHECK(chosen({"lm_head"}) == std::set<std::string>{"model.language_model.embed_tokens.weight"});  // tied to it
  CHECK(error_of([&] { chosen({"embed_token"}); }) ==
        "additional_target: embed_token ends the name of no module of this model (did you mean embed_tokens?)");
  CHECK(fake::contains(error_of([&] { chosen({"attn"}, {"model.visual.blocks.0.attn.qkv"}); }),
                       "model.visual.blocks.0.attn.qkv has an adapter (lora_target)"));
}

TEST_CASE("freeze: layers by number in every stack that is not frozen, and the projector", "[train]") {
  TrainableOptions options;
  options.method = TrainableOptions::Method::freeze;
  options.freeze_trainable_layers = 1;
  const auto trained = [&](std::string_view name) { return is_trained(name, 4, qwen_vl::regions, options); };
  CHECK(trained("model.language_model.layers.3.mlp.up_proj.weight"));
  CHECK(!trained("model.language_model.layers.2.mlp.up_proj.weight"));
  CHECK(!trained("model.visual.blocks.3.attn.qkv.weight"));
  CHECK(!trained("model.visual.merger.norm.weight"));
  options.freeze_vision_tower = options.freeze_multi_modal_projector = false;
  CHECK(trained("model.visual.blocks.3.attn.qkv.weight"));
  CHECK(!trained("model.visual.blocks.2.attn.qkv.weight"));
  CHECK(trained("model.visual.merger.norm.weight"));
  CHECK(!trained("model.visual.patch_embed.proj.weight"));
  CHECK(!trained("model.language_model.norm.weight"));
  options.freeze_trainable_modules = {"mlp"}, options.freeze_extra_modules = {"norm"};
  CHECK(trained("model.language_model.layers.3.mlp.up_proj.weight"));
  CHECK(!trained("model.language_model.layers.3.self_attn.q_proj.weight"));
  CHECK(trained("model.language_model.norm.weight"));
  const std::vector<std::string> tensors = {"model.language_model.layers.0.mlp.up_proj.weight",
                                            "model.language_model.norm.weight"};
  CHECK(error_of([&] { require_freeze_modules(tensors, options); }).empty());
  options.freeze_trainable_modules = {"mpl"};
  CHECK(fake::contains(error_of([&] { require_freeze_modules(tensors, options); }),
                       "freeze_trainable_modules: mpl is no such module of this model (did you mean mlp?)"));
  options.freeze_trainable_modules = {"all"}, options.freeze_extra_modules = {"mlp"};
  CHECK(fake::contains(error_of([&] { require_freeze_modules(tensors, options); }), "known are norm"));
  options.freeze_extra_modules.clear();
  options.freeze_trainable_layers = -2;
  CHECK(trained("model.visual.deepstack_merger_list.1.norm.weight"));
  CHECK(!trained("model.language_model.layers.2.mlp.up_proj.weight"));
}

TEST_CASE("freeze_multi_modal_projector: false is noted if a model calls its projector otherwise", "[train]") {
  const std::vector<TensorSpec> family{{.path = Path{} / "model.visual.merger.linear_fc1.weight", .rank = 2}},
      own{{.path = Path{} / "model.visual.resampler.q_proj.weight", .rank = 2}};
  TrainableOptions options;
  CHECK(missing_projector(own, qwen_vl::regions, options).empty());
  options.freeze_multi_modal_projector = false;
  CHECK(missing_projector(family, qwen_vl::regions, options).empty());
  CHECK(fake::contains(missing_projector(own, qwen_vl::regions, options), "no tensor of this model is under"));
  options.freeze_vision_tower = false;
  CHECK(missing_projector(own, qwen_vl::regions, options).empty());
}
