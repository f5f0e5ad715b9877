#include <lamina/merge/merge.hpp>
#include "checkpoint/scratch.hpp"
#include "support/catch.hpp"

using namespace lamina;
using nlohmann::ordered_json;

TEST_CASE("companions: tokenizer and processor files are copied, configs are changed only where they must be") {
  Scratch dir;
  std::filesystem::create_directory(dir / "model");
  std::filesystem::create_directory(dir / "out");
  spill(dir / "model/config.json",
        R"({"z": 1, "torch_dtype": "float32", "text_config": {"dtype": "float32"}, "a": "\u00e9"})");
  spill(dir / "model/tokenizer.json", "{\"odd\":   \"spacing stays\"}");
  spill(dir / "model/merges.txt", "#version: 0.2\n");
  spill(dir / "model/chat_template.json", "{}");
  spill(dir / "model/preprocessor_config.json", "{\"patch_size\": 16}");
  spill(dir / "model/tokenizer_config.json", R"({"padding_side": "right", "eos_token": "<|im_end|>"})");
  spill(dir / "model/generation_config.json", R"({"temperature": 0.7, "do_sample": false})");
  spill(dir / "model/model.safetensors", "weights");
  spill(dir / "model/training_args.bin", "a pickle");
  const auto names = merge::write_companions(dir / "model", dir / "out", DType::BF16, "qwen3_vl");
  for (const char* same : {"tokenizer.json", "merges.txt", "chat_template.json", "preprocessor_config.json"})
    CHECK(slurp(dir / "out" / same) == slurp(dir / "model" / same));
  CHECK(slurp(dir / "out/config.json") ==
        "{\n  \"z\": 1,\n  \"torch_dtype\": \"bfloat16\",\n  \"text_config\": {\n    \"dtype\": \"bfloat16\"\n  },\n  "
        "\"a\": \"\\u00e9\"\n}\n");
  CHECK(ordered_json::parse(slurp(dir / "out/tokenizer_config.json"))["padding_side"] == "left");
  CHECK(ordered_json::parse(slurp(dir / "out/generation_config.json"))["do_sample"] == true);
  CHECK(!std::filesystem::exists(dir / "out/model.safetensors"));
  CHECK(!std::filesystem::exists(dir / "out/training_args.bin"));
  CHECK(std::find(names.begin(), names.end(), "Modelfile") != names.end());
}

TEST_CASE("companions: a file that is cut off, empty, no object or a git-lfs pointer is named") {
  for (const char* name : {"tokenizer_config.json", "generation_config.json", "chat_template.json"}) {
    Scratch dir;
    const std::string path = (dir / name).string();
    const auto error = [&](const char* text) {
      spill(path, text);
      return error_of([&] { checkpoint::require_whole_companions(dir.dir()); });
    };
    CHECK(error("{}") == "");
    CHECK(contains(error("{"), path + ": not valid JSON: line 1, column 2: the text ends"));
    CHECK(contains(error(""), path + ": is empty"));
    CHECK(contains(error("[]"), path + ": is JSON of type array, wanted an object"));
    CHECK(contains(error("version https://git-lfs.github.com/spec/v1\n"), path + ": is a git-lfs pointer"));
  }
}

TEST_CASE("companions: generation settings without sampling stay greedy") {
  const auto fixed = [](const char* text) {
    auto json = ordered_json::parse(text);
    merge::detail::fix_sampling(json);
    return json.dump();
  };
  CHECK(fixed(R"({"do_sample":false,"top_k":20})") == R"({"do_sample":false,"top_k":20})");
  CHECK(fixed(R"({"temperature":1.0})") == R"({"temperature":1.0})");
  CHECK(fixed(R"({"top_p":0.8})") == R"({"top_p":0.8,"do_sample":true})");
}

TEST_CASE("companions: a config that names no element type gets one at the top") {
  ordered_json config = ordered_json::parse(R"({"model_type": "qwen3_vl"})");
  merge::detail::set_dtype(config, DType::F16);
  CHECK(config["torch_dtype"] == "float16");
}

TEST_CASE("Modelfile: equals LLaMA-Factory's but for the first line") {
  for (const std::string_view name : {"qwen3_vl", "qwen3_vl_nothink", "qwen2_vl", "qwen", "qwen3", "qwen3_nothink"}) {
    std::string theirs = slurp(std::filesystem::path(LAMINA_GOLDEN_DIR) / "merge" / ("Modelfile." + std::string(name)));
    std::string ours = merge::modelfile_text(name);
    REQUIRE(!theirs.empty());
    CHECK(ours.substr(ours.find('\n')) == theirs.substr(theirs.find('\n')));
  }
  CHECK(contains(error_of([] { merge::modelfile_text("llama3"); }), "got \"llama3\""));
}
