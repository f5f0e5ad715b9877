#include <lamina/checkpoint/other_tensors.hpp>
#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/model/qwen_vl/names.hpp>

#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"
#include "support/notes.hpp"

using namespace lamina;
using namespace lamina::checkpoint;

TEST_CASE("expect_no_others: a surplus tensor of the model is an error, a foreign one a note, a derived one nothing") {
  const Scratch dir;
  const float zero = 0;
  const auto check = [&](const std::vector<std::string>& names, bool tied) {
    std::vector<TensorData> tensors;
    for (const std::string& name : names)
      tensors.push_back({name, DType::F32, {1}, std::as_bytes(std::span(&zero, 1))});
    write_safetensors(dir / "model.safetensors", tensors);
    TensorSpec norm, block;
    norm.path = Path() / "model" / "language_model" / "norm" / "weight";
    block.path = Path() / "model" / "visual" / "blocks" / 0 / "norm1" / "weight";
    expect_no_others(Checkpoint::open(dir.dir(), qwen_vl::names), std::vector{norm, block},
                     tied ? "lm_head.weight" : "");
  };
  const auto error = [&](const std::string& more, bool tied) {
    return error_of([&] { check({"model.norm.weight", "visual.blocks.0.norm1.weight", more}, tied); });
  };
  CHECK(error("model.layers.0.self_attn.rotary_emb.inv_freq", false) == "");
  CHECK(error("lm_head.weight", true) == "");
  CHECK(::contains(error("lm_head.weight", false), "the model of config.json has no place for lm_head.weight"));
  CHECK(
      ::contains(error("model.layers.28.mlp.up_proj.weight", true), "no place for model.layers.28.mlp.up_proj.weight"));
  CHECK(::contains(error("visual.blocks.0.norm1.bias", true), "do config.json and the weights belong together?"));
  CHECK(::contains(error_of([&] { check({"visual.a", "visual.b", "visual.c"}, true); }), "visual.a and 2 more"));
  const std::string notes = lamina::testing::notes_of([&] { CHECK(error("v_head.summary.weight", true) == ""); });
  CHECK(::contains(notes, "v_head.summary.weight are tensors of no part of the model: they are not read"));
}
