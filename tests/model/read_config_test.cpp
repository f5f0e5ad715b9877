#include <lamina/checkpoint/safetensors.hpp>
#include <lamina/model/config/read.hpp>
#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"

#include <nlohmann/json.hpp>

using namespace lamina;
using namespace lamina::checkpoint;
using nlohmann::json;

namespace {

ModelConfig load_text(const std::string& text) {
  Scratch dir;
  spill(dir / "config.json", text);
  return ModelConfig::load(dir.dir());
}
ModelConfig load_layout(const std::string& name) { return load_text(slurp(golden("layouts/" + name + ".json"))); }

/// The Error of loading a layout after a change by JSON merge patch (RFC 7386).
std::string error_after(const std::string& layout, const json& patch) {
  json config = json::parse(slurp(golden("layouts/" + layout + ".json")));
  config.merge_patch(patch);
  return error_of([&] { load_text(config.dump()); });
}

}  // namespace

TEST_CASE("ModelConfig: Qwen3-VL-2B as released") {
  const ModelConfig c = load_layout("qwen3_vl_2b_released");
  const DecoderConfig text{.vocab_size = 151936,
                           .hidden_size = 2048,
                           .intermediate_size = 6144,
                           .num_hidden_layers = 28,
                           .num_attention_heads = 16,
                           .num_key_value_heads = 8,
                           .head_dim = 128,
                           .max_position_embeddings = 262144,
                           .rms_norm_eps = 1e-6,
                           .rope_theta = 5e6,
                           .mrope_section = {24, 20, 20},
                           .mrope_interleaved = true,
                           .hidden_act = "silu"};
  CHECK(c.model_type == "qwen3_vl");
  CHECK(c.text_config == text);
  CHECK(c.vision_config.depth == 24);
  CHECK(c.vision_config.hidden_size == 1024);
  CHECK(c.vision_config.intermediate_size == 4096);
  CHECK(c.vision_config.num_heads == 16);
  CHECK(c.vision_config.out_hidden_size == 2048);
  CHECK(c.vision_config.patch_size == 16);
  CHECK(c.vision_config.num_position_embeddings == 2304);
  CHECK(c.vision_config.deepstack_visual_indexes == std::vector{5, 11, 17});
  CHECK(c.vision_config.hidden_act == "gelu_pytorch_tanh");
  CHECK(c.image_token_id == 151655);
  CHECK(c.eos_token_id == std::vector{151645});
  CHECK(c.tie_word_embeddings);
  CHECK(c.dtype == DType::BF16);
  CHECK(c.quant_method.empty());
}

TEST_CASE("ModelConfig: Qwen2.5-VL as released, flat, with a full and a sparse vision_config") {
  const ModelConfig seven = load_layout("qwen2_5_vl_7b_released"), three = load_layout("qwen2_5_vl_3b_released");
  CHECK(seven.text_config.hidden_size == 3584);
  CHECK(seven.text_config.head_dim == 128);
  CHECK(seven.text_config.mrope_section == std::array{16, 24, 24});
  CHECK(!seven.tie_word_embeddings);
  CHECK(three.tie_word_embeddings);
  CHECK(three.text_config.num_hidden_layers == 36);
  CHECK(three.dtype == DType::BF16);
  TowerConfig expected = seven.vision_config;  // fields that the 3B file leaves out equal the 7B's
  CHECK(expected.fullatt_block_indexes == std::vector{7, 15, 23, 31});
  CHECK(expected.window_size == 112);
  CHECK(expected.intermediate_size == 3420);
  expected.out_hidden_size = 2048;
  CHECK(three.vision_config == expected);
}

TEST_CASE("ModelConfig: files that transformers 5 saved again read the same as the released ones") {
  for (const std::string name : {"qwen3_vl_2b", "qwen2_5_vl_3b", "qwen2_5_vl_7b"}) {
    const ModelConfig released = load_layout(name + "_released"), resaved = load_layout(name + "_resaved_v5");
    CHECK(released.text_config == resaved.text_config);
    CHECK(released.vision_config == resaved.vision_config);
    CHECK(released.tie_word_embeddings == resaved.tie_word_embeddings);
    CHECK(released.dtype == resaved.dtype);
    CHECK(released.eos_token_id == resaved.eos_token_id);
    CHECK(released.image_token_id == resaved.image_token_id);
  }
}

TEST_CASE(
    "ModelConfig: text_config wins over stale duplicates beside it, and rope_parameters next to rope_scaling must "
    "agree") {
  json config = json::parse(slurp(golden("layouts/qwen2_5_vl_7b_released.json")));
  json text = config;
  text.erase("vision_config");
  config["text_config"] = text;
  config["hidden_size"] = 1;
  config["num_hidden_layers"] = 99;
  config["text_config"]["rope_parameters"] = {{"rope_theta", 123.0}, {"mrope_section", {20, 22, 22}}};
  CHECK(contains(error_of([&] { load_text(config.dump()); }),
                 "text_config.rope_parameters.mrope_section and text_config.rope_scaling.mrope_section differ"));
  config["text_config"]["rope_scaling"]["mrope_section"] = {20, 22, 22};
  const ModelConfig c = load_text(config.dump());
  CHECK(c.text_config.hidden_size == 3584);
  CHECK(c.text_config.num_hidden_layers == 28);
  CHECK(c.text_config.rope_theta == 123.0);
  CHECK(c.text_config.mrope_section == std::array{20, 22, 22});
}

TEST_CASE("ModelConfig: a missing or mistyped field is named") {
  const auto three = [](const json& patch) { return error_after("qwen3_vl_2b_released", patch); };
  const auto text = [&](const json& patch) { return three({{"text_config", patch}}); };
  const auto vision = [&](const json& patch) { return three({{"vision_config", patch}}); };
  CHECK(three(json::object()) == "");
  CHECK(contains(text({{"hidden_size", nullptr}}), "text_config.hidden_size is missing"));
  CHECK(contains(text({{"hidden_size", "2048"}}), "text_config.hidden_size is \"2048\", wanted an integer"));
  CHECK(contains(text({{"hidden_size", 2048.5}}), "wanted an integer"));
  CHECK(contains(text({{"hidden_size", 0}}), "wanted a positive integer"));
  CHECK(contains(text({{"hidden_size", 1e30}}), "wanted an integer"));
  CHECK(contains(text({{"hidden_size", 18446744073709551615u}}), "wanted an integer"));
  CHECK(contains(text({{"num_key_value_heads", 3}}), "not a multiple of num_key_value_heads = 3"));
  CHECK(contains(text({{"rms_norm_eps", nullptr}}), "text_config.rms_norm_eps is missing"));
  CHECK(contains(text({{"rope_theta", nullptr}}), "text_config.rope_theta is missing"));
  CHECK(contains(text({{"rope_theta", -1}}), "wanted a positive number"));
  CHECK(contains(text({{"rope_scaling", nullptr}}), "text_config.rope_parameters is missing"));
  CHECK(contains(text({{"rope_scaling", {{"rope_type", "yarn"}}}}), "only plain multimodal RoPE"));
  CHECK(contains(text({{"rope_scaling", {{"mrope_section", {1, 2}}}}}), "sum to head_dim / 2 = 64"));
  CHECK(contains(text({{"rope_scaling", {{"mrope_section", "x"}}}}), "wanted a list of integers"));
  CHECK(contains(text({{"attention_bias", true}}), "have no bias"));
  CHECK(contains(text({{"use_sliding_window", true}}), "sliding windows are not supported"));
  CHECK(contains(text({{"tie_word_embeddings", 1}}), "text_config.tie_word_embeddings is 1, wanted true or false"));
  CHECK(contains(text({{"dtype", "int4"}}), "wanted bfloat16, float16 or float32"));
  CHECK(contains(vision({{"depth", nullptr}}), "vision_config.depth is missing"));
  CHECK(contains(vision({{"num_heads", 7}}), "not a multiple of num_heads = 7"));
  CHECK(contains(vision({{"deepstack_visual_indexes", {5, 24}}}), "names block 24 of a tower of 24"));
  CHECK(contains(vision({{"out_hidden_size", 2560}}), "must equal the decoder's hidden_size"));
  CHECK(contains(three({{"vision_config", nullptr}}), "vision_config is missing"));
  CHECK(contains(three({{"vision_config", 3}}), "vision_config: got number, wanted an object"));
  CHECK(contains(three({{"text_config", nullptr}}), "text_config is missing"));
  CHECK(contains(three({{"model_type", "llama"}}),
                 "model_type is \"llama\", known are qwen3_vl, qwen2_5_vl, qwen3, qwen3_moe and qwen3_vl_moe"));
  CHECK(contains(three({{"model_type", "qwen3_5"}}), "layers of gated DeltaNet are not built"));
  CHECK(contains(three({{"model_type", "qwen3_vl_moe"}}), "text_config.num_experts is missing"));
  CHECK(contains(error_of([] { load_text("[1]"); }), "wanted an object"));
  CHECK(contains(error_of([] { load_text("{\"model_type\": \"qwen3_vl\""); }), "not valid JSON"));
  CHECK(contains(error_of([] { load_text("{\"a\":1,\"a\":2}"); }), "is set twice"));
  Scratch empty;
  CHECK(contains(error_of([&] { ModelConfig::load(empty.dir()); }), "config.json: no such file"));
}

TEST_CASE("ModelConfig: a token that the model does not have is refused") {
  const std::string tokens = ", and the model's tokens are 0 to 151935 (vocab_size)";
  for (const char* field : {"image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"}) {
    CHECK(contains(error_after("qwen3_vl_2b_released", {{field, 151936}}), cat(field, " is 151936", tokens)));
    CHECK(contains(error_after("qwen3_vl_2b_released", {{field, -1}}), cat(field, " is -1", tokens)));
  }
  CHECK(error_after("qwen3_vl_2b_released", {{"text_config", {{"eos_token_id", 999999}}}}) == "");  // not used here
}

TEST_CASE("ModelConfig: a quantised base is recognised") {
  json config = json::parse(slurp(golden("layouts/qwen3_vl_2b_released.json")));
  config["quantization_config"] = {{"quant_method", "fp8"}};
  CHECK(load_text(config.dump()).quant_method == "fp8");
}
