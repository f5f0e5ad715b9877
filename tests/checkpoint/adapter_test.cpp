#include <lamina/checkpoint/adapter.hpp>
#include "scratch.hpp"
#include "support/catch.hpp"
#include "support/spellings.hpp"

#include <functional>

using namespace lamina;
using namespace lamina::checkpoint;
using nlohmann::ordered_json;

namespace {

const LoraPair& pair_of(const Adapter& adapter, std::string_view module) {
  for (const LoraPair& p : adapter.pairs())
    if (p.module == module) return p;
  fail("no pair for ", module);
}

std::vector<TensorData> tensors_of(const Checkpoint& c, const std::function<std::string(std::string)>& rename) {
  std::vector<TensorData> tensors;
  for (const TensorInfo& t : c.tensors()) tensors.push_back({rename(t.name), t.dtype, t.shape, c.data(t.name)});
  return tensors;
}

/// The Error of loading the golden adapter after a change to its config and its tensors.
std::string error_after(const std::string& name, const std::function<void(ordered_json&)>& change_config,
                        const std::function<void(std::vector<TensorData>&)>& change_tensors) {
  Scratch dir;
  ordered_json config = ordered_json::parse(slurp(golden(name) / "adapter_config.json"));
  change_config(config);
  spill(dir / "adapter_config.json", config.dump());
  const Checkpoint c = Checkpoint::open(golden(name), qwen_vl::names);
  auto tensors = tensors_of(c, [](std::string s) { return s; });
  change_tensors(tensors);
  write_safetensors(dir / "adapter_model.safetensors", tensors);
  return error_of([&] { Adapter::load(dir.dir(), qwen_vl::names); });
}

std::string with_config(const std::string& key, ordered_json value) {
  return error_after(
      "tiny3_adapter", [&](ordered_json& c) { c[key] = value; }, [](auto&) {});
}

}  // namespace

TEST_CASE("Adapter: PEFT's plain adapter") {
  const Adapter a = Adapter::load(golden("tiny3_adapter"), qwen_vl::names);
  CHECK(a.config().r == 4);
  CHECK(a.config().lora_alpha == 8);
  CHECK(a.config().base_model_name_or_path == "./tiny");
  CHECK(a.config().target_modules == std::vector<std::string>{"down_proj", "q_proj", "qkv", "v_proj"});
  CHECK(a.pairs().size() == 2 * 4);
  CHECK(a.replaced().empty());
  const LoraPair& q = pair_of(a, "model.language_model.layers.1.self_attn.q_proj");
  CHECK(q.rank == 4);
  CHECK(q.scale == 2.0);
  CHECK(q.in_features == 16);
  CHECK(q.out_features == 16);
  CHECK(a.read(q.a).size() == 4 * 16);
  CHECK(pair_of(a, "model.visual.blocks.0.attn.qkv").out_features == 48);
}

TEST_CASE("Adapter: rsLoRA, rank and alpha patterns, and a module saved whole") {
  const Adapter a = Adapter::load(golden("tiny2_5_adapter"), qwen_vl::names);
  const auto scale = [&](const char* name) {
    return pair_of(a, std::string("model.language_model.layers.") + name).scale;
  };
  CHECK(scale("0.self_attn.q_proj") == 6 / std::sqrt(4.0));
  CHECK(scale("1.self_attn.q_proj") == 6 / std::sqrt(2.0));
  CHECK(scale("0.self_attn.k_proj") == 3 / std::sqrt(4.0));
  CHECK(scale("1.self_attn.o_proj") == 5 / std::sqrt(4.0));
  REQUIRE(a.replaced().size() == 1);
  CHECK(a.replaced()[0].tensor == "lm_head.weight");
  CHECK(a.config().modules_to_save == std::vector<std::string>{"lm_head"});
  CHECK(a.config().lora_dropout == 0.05);
}

TEST_CASE("Adapter: DoRA's magnitudes") {
  const Adapter a = Adapter::load(golden("tiny3_dora_adapter"), qwen_vl::names);
  CHECK(a.config().use_dora);
  const LoraPair& k = pair_of(a, "model.language_model.layers.0.self_attn.k_proj");
  CHECK(a.read(k.magnitude).size() == 8);
}

TEST_CASE("Adapter: config and weights that we write equal PEFT's byte for byte") {
  for (const char* name : {"tiny3_adapter", "tiny2_5_adapter", "tiny3_dora_adapter"}) {
    Scratch dir;
    const Adapter a = Adapter::load(golden(name), qwen_vl::names);
    write_adapter(dir / "out", a.config(), tensors_of(a.weights(), [](std::string s) { return s; }));
    CHECK(slurp(dir / "out/adapter_config.json") == slurp(golden(name) / "adapter_config.json"));
    CHECK(slurp(dir / "out/adapter_model.safetensors") == slurp(golden(name) / "adapter_model.safetensors"));
  }
  CHECK(peft_tensor_name("model.visual.blocks.0.attn.qkv", "lora_A") ==
        "base_model.model.model.visual.blocks.0.attn.qkv.lora_A.weight");
}

TEST_CASE("Adapter: every accepted spelling gives the same pairs") {
  const Adapter expected = Adapter::load(golden("tiny2_5_adapter"), qwen_vl::names);
  const std::string prefix = "base_model.model.";
  const auto old_names = [&](std::string s) {
    return prefix + testing::respelt_name(s.substr(prefix.size()), testing::Spelling::released_qwen2_5_vl);
  };
  const auto vllm = [&](std::string s) {
    return testing::respelt_name(s.substr(prefix.size()), testing::Spelling::vllm);
  };
  const auto bare = [&](std::string s) { return s.substr(prefix.size()); };
  const auto with_adapter_name = [&](std::string s) {
    const auto at = s.find(".weight");
    return s.find("lora_") == std::string::npos ? s : s.insert(at, ".default");
  };
  const auto wrapped = [&](std::string s) {
    return s.ends_with("lm_head.weight") ? prefix + "lm_head.modules_to_save.default.weight" : s;
  };
  for (const std::function<std::string(std::string)>& rename :
       std::initializer_list<std::function<std::string(std::string)>>{old_names, vllm, bare, with_adapter_name,
                                                                      wrapped}) {
    Scratch dir;
    write_adapter(dir.dir(), expected.config(), tensors_of(expected.weights(), rename));
    const Adapter a = Adapter::load(dir.dir(), qwen_vl::names);
    REQUIRE(a.pairs().size() == expected.pairs().size());
    for (std::size_t i = 0; i < a.pairs().size(); ++i) {
      CHECK(a.pairs()[i].module == expected.pairs()[i].module);
      CHECK(a.pairs()[i].scale == expected.pairs()[i].scale);
      CHECK(a.read(a.pairs()[i].b) == expected.read(expected.pairs()[i].b));
    }
    REQUIRE(a.replaced().size() == 1);
    CHECK(a.replaced()[0].tensor == "lm_head.weight");
  }
}

TEST_CASE("Adapter: variants with other mathematics are refused by name") {
  CHECK(with_config("r", 4) == "");
  CHECK(contains(with_config("peft_type", "IA3"), "peft_type is \"IA3\", only LORA"));
  CHECK(contains(with_config("lora_bias", true), "lora_bias is true"));
  CHECK(contains(with_config("use_qalora", true), "use_qalora is true"));
  CHECK(contains(with_config("layer_replication", {{0, 2}}), "layer_replication is [[0,2]], wanted null"));
  CHECK(contains(with_config("trainable_token_indices", {1, 2}), "trainable_token_indices is [1,2], wanted null"));
  CHECK(contains(with_config("target_parameters", {"experts.down_proj"}),
                 "target_parameters is [\"experts.down_proj\"], wanted null"));
  CHECK(with_config("target_parameters", ordered_json::array()) == "");
  CHECK(contains(with_config("init_lora_weights", "pissa_niter_16"), "take the one in pissa_converted next to it"));
  CHECK(with_config("init_lora_weights", "gaussian") == "");
  CHECK(contains(with_config("use_dora", true), "no lora_magnitude_vector"));
  CHECK(contains(with_config("bias", "some"), "wanted none, all or lora_only"));
}

TEST_CASE("Adapter: a config that is mistyped, or that its tensors contradict, is named") {
  CHECK(contains(with_config("r", "8"), "r is \"8\", wanted an integer"));
  CHECK(contains(with_config("r", 0), "r is 0, wanted a rank from 1 to 65536"));
  CHECK(contains(with_config("r", nullptr), "r is missing"));
  CHECK(contains(with_config("r", 8), "has rank 4, adapter_config.json says 8"));
  CHECK(contains(with_config("lora_alpha", nullptr), "lora_alpha is missing"));
  CHECK(contains(with_config("lora_alpha", 0), "lora_alpha is 0, wanted above 0 up to 1000000000"));
  CHECK(contains(with_config("lora_alpha", -8), "lora_alpha is -8, wanted above 0"));
  CHECK(contains(with_config("lora_alpha", 1e300), "lora_alpha is 1e+300, wanted above 0"));
  CHECK(contains(with_config("alpha_pattern", {{"q_proj", 0}}), "alpha_pattern.q_proj is 0, wanted above 0"));
  CHECK(contains(with_config("rank_pattern", {{"q_proj", 2.5}}), "rank_pattern.q_proj is 2.5, wanted a whole number"));
  CHECK(contains(with_config("lora_dropout", 1.0), "lora_dropout is 1, wanted 0 up to below 1"));
  CHECK(contains(with_config("rank_pattern", {{"q_proj", -1}}), "rank_pattern.q_proj is -1"));
  CHECK(contains(with_config("rank_pattern", {{"q_proj", "x"}}), "wanted a number"));
  CHECK(contains(with_config("alpha_pattern", {{"(", 3}}),
                 "adapter_config.json: \"(\" in rank_pattern or alpha_pattern is not a regular expression"));
  CHECK(contains(with_config("target_modules", 3), "wanted a list of strings"));
  CHECK(with_config("target_modules", ".*(down_proj|q_proj|qkv|v_proj)") == "");
  CHECK(with_config("a_key_of_the_future", {{"x", 1}}) == "");
}

TEST_CASE("Adapter: fields for which PEFT passes over layers of the file are refused") {
  CHECK(contains(with_config("target_modules", ".*q_proj"), "target_modules of adapter_config.json leaves out "));
  CHECK(contains(with_config("target_modules", {"down_proj", "q_proj", "v_proj"}), "target_modules"));
  CHECK(with_config("target_modules", "all-linear") == "");
  CHECK(with_config("target_modules", "(?<=a)unknown to std::regex") == "");
  CHECK(contains(with_config("exclude_modules", {"v_proj"}), "exclude_modules of adapter_config.json leaves out"));
  CHECK(contains(with_config("exclude_modules", ".*visual.*"), "leaves out model.visual.blocks.0.attn.qkv"));
  CHECK(with_config("exclude_modules", {"k_proj"}) == "");
  CHECK(contains(with_config("layers_to_transform", {0}),
                 "layers_to_transform of adapter_config.json leaves out "
                 "model.language_model.layers.1."));
  CHECK(contains(with_config("layers_to_transform", 1), "leaves out model.language_model.layers.0."));
  CHECK(with_config("layers_to_transform", {0, 1}) == "");
  CHECK(with_config("layers_to_transform", ordered_json::array()) == "");
  CHECK(contains(with_config("layers_to_transform", {"0"}), "layers_to_transform"));
}

TEST_CASE("Adapter: modules_to_save and bias are refused if the file holds no such tensors") {
  CHECK(contains(with_config("modules_to_save", {"lm_head"}), "modules_to_save names lm_head, but"));
  for (const char* spelt : {"lm_head", "language_model.lm_head"})
    CHECK(error_after(
              "tiny2_5_adapter", [&](ordered_json& c) { c["modules_to_save"] = {spelt}; }, [](auto&) {}) == "");
  CHECK(contains(with_config("bias", "all"), "bias is \"all\", but adapter_model.safetensors has no bias"));
  CHECK(with_config("modules_to_save", ordered_json::array()) == "");
}

TEST_CASE("Adapter: pairs that are incomplete or do not fit together are named") {
  const auto change = [](const std::function<void(std::vector<TensorData>&)>& f) {
    return error_after(
        "tiny3_adapter", [](ordered_json&) {}, f);
  };
  const auto is_first = [](const std::string& name) { return contains(name, "layers.0.self_attn.q_proj"); };
  const auto rename_first = [&](const std::string& from, const std::string& to) {
    return change([&](std::vector<TensorData>& tensors) {
      for (TensorData& t : tensors)
        if (is_first(t.name) && contains(t.name, from)) t.name.replace(t.name.find(from), from.size(), to);
    });
  };
  CHECK(contains(change([&](auto& tensors) {
                   std::erase_if(tensors,
                                 [&](const TensorData& t) { return is_first(t.name) && contains(t.name, "lora_B"); });
                 }),
                 "layers.0.self_attn.q_proj has lora_A but no lora_B"));
  CHECK(contains(change([&](auto& tensors) {
                   for (TensorData& t : tensors)
                     if (is_first(t.name) && contains(t.name, "lora_B")) t.shape = {32, 2};
                 }),
                 "lora_A (4, 16) and lora_B (32, 2) do not share a rank"));
  CHECK(contains(change([&](auto& tensors) {
                   for (TensorData& t : tensors)
                     if (is_first(t.name) && contains(t.name, "lora_A")) t.shape = {4, 4, 4};
                 }),
                 "only linear layers are supported"));
  CHECK(contains(rename_first("lora_A.weight", "lora_C.weight"), "is not a tensor that LoRA has"));
  CHECK(contains(rename_first("lora_A.weight", "lora_embedding_A"), "LoRA on an embedding is not supported"));
  CHECK(contains(rename_first("lora_A.weight", "lora_magnitude_vector"), "has lora_B but no lora_A"));
  CHECK(contains(rename_first("lora_A.weight", std::string(600, 'x')), "name has"));
  CHECK(contains(change([](auto& tensors) { tensors.clear(); }), "holds no tensors"));
  Scratch dir;
  CHECK(contains(error_of([&] { Adapter::load(dir.dir(), qwen_vl::names); }), "adapter_config.json: no such file"));
  spill(dir / "adapter_config.json", slurp(golden("tiny3_adapter") / "adapter_config.json"));
  CHECK(
      contains(error_of([&] { Adapter::load(dir.dir(), qwen_vl::names); }), "adapter_model.safetensors: no such file"));
  spill(dir / "adapter_model.bin", "x");
  CHECK(contains(error_of([&] { Adapter::load(dir.dir(), qwen_vl::names); }), "pickled weights are not read"));
}
