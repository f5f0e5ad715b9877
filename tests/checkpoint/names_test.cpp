#include <lamina/checkpoint/safetensors.hpp>
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
