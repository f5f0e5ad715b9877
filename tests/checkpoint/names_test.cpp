#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/core/suggest.hpp>
#include "scratch.hpp"
#include "support/catch.hpp"
#include "support/spellings.hpp"

using namespace lamina;
using namespace lamina::checkpoint;
using lamina::testing::respelt_name, lamina::testing::Spelling;

TEST_CASE("Names: every spelling means its canonical name") {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"model.layers.3.mlp.up_proj.weight", "model.language_model.layers.3.mlp.up_proj.weight"},
      {"model.embed_tokens.weight", "model.language_model.embed_tokens.weight"},
      {"model.norm.weight", "model.language_model.norm.weight"},
      {"visual.blocks.0.attn.qkv.bias", "model.visual.blocks.0.attn.qkv.bias"},
      {"visual", "model.visual"},
      {"language_model.model.layers.0.self_attn.q_proj", "model.language_model.layers.0.self_attn.q_proj"},
      {"language_model.lm_head.weight", "lm_head.weight"},
      {"language_model.layers.0.self_attn.q_proj", "model.language_model.layers.0.self_attn.q_proj"},
      {"layers.0.self_attn.q_proj", "model.language_model.layers.0.self_attn.q_proj"},
      {"model.language_model.norm.weight", "model.language_model.norm.weight"},
      {"model.visual.merger.norm.weight", "model.visual.merger.norm.weight"},
      {"lm_head.weight", "lm_head.weight"},
      {"visualiser.weight", "visualiser.weight"},
      {"something.else", "something.else"},
  };
  for (const auto& [spelt, canonical] : table) {
    CHECK(canonical_name(spelt, qwen_vl::names) == canonical);
    CHECK(canonical_name(canonical, qwen_vl::names) == canonical);
  }
}

TEST_CASE("Names: respelling a canonical name and reading it back gives it again") {
  const std::string q = "model.language_model.layers.3.mlp.up_proj.weight", v = "model.visual.pos_embed.weight";
  CHECK(respelt_name(q, Spelling::released_qwen2_5_vl) == "model.layers.3.mlp.up_proj.weight");
  CHECK(respelt_name(v, Spelling::released_qwen2_5_vl) == "visual.pos_embed.weight");
  CHECK(respelt_name(q, Spelling::vllm) == "language_model.model.layers.3.mlp.up_proj.weight");
  CHECK(respelt_name("lm_head.weight", Spelling::vllm) == "language_model.lm_head.weight");
  for (const char* model : {"tiny3", "tiny2_5"}) {
    const Checkpoint c = Checkpoint::open(golden(model));
    for (const TensorInfo& t : c.tensors())
      for (const Spelling s : {Spelling::canonical, Spelling::released_qwen2_5_vl, Spelling::vllm}) {
        const std::string canonical = canonical_name(t.name, qwen_vl::names);
        REQUIRE(canonical_name(respelt_name(canonical, s), qwen_vl::names) == canonical);
      }
  }
  const Checkpoint released = Checkpoint::open(golden("tiny2_5"));
  for (const TensorInfo& t : released.tensors())
    REQUIRE(respelt_name(canonical_name(t.name, qwen_vl::names), Spelling::released_qwen2_5_vl) == t.name);
}

TEST_CASE("suggest: the nearest known word, and none where nothing is near") {
  const std::vector<std::string_view> known = {"export_dir", "export_size", "export_device", "template"};
  CHECK(suggest("exprt_dir", known) == "export_dir");
  CHECK(suggest("export-size", known) == "export_size");
  CHECK(suggest("tempalte", known) == "template");
  CHECK(suggest("learning_rate", known) == "");
  CHECK(suggest("x", known) == "");
  CHECK(suggest("", known) == "");
  CHECK(suggest("exp", known) == "export_dir");
  CHECK(did_you_mean("tempalte", known) == ": did you mean template?");
  CHECK(did_you_mean("learning_rate", known) == "");
  CHECK(edit_distance("abcd", "acbd") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
}
