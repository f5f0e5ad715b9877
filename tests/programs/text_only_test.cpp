// A decoder without a tower, the user's whole way: train, merge, ask, serve.
#include <fstream>
#include <nlohmann/json.hpp>

#include "programs/program.hpp"
#include "programs/serve_process.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina;
using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

/// Weights by rule for Qwen3's tiny size, with the tokenizer of Qwen3-VL's.
Program make_text_model(const fs::path& files, const fs::path& out) {
  const fs::path from = LAMINA_SOURCE_DIR "/data/qwen3_vl_tiny";
  fs::create_directories(files);
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.json"})
    fs::copy_file(from / name, files / name);
  std::ofstream(files / "config.json") << R"({"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3",
    "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 4070, "eos_token_id": 4072, "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 256, "initializer_range": 0.02, "intermediate_size": 768,
    "max_position_embeddings": 40960, "max_window_layers": 4, "num_attention_heads": 4, "num_hidden_layers": 4,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000,
    "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "float32", "use_cache": true,
    "use_sliding_window": false, "vocab_size": 4096})";
  return run_program("lamina-init", {"--model", files.string(), "--out", out.string()});
}

std::vector<std::string> training(const fs::path& folder, const std::string& dataset) {
  return {LAMINA_SOURCE_DIR "/examples/configs/quickstart_lora_sft.yaml",
          "model_name_or_path=" + (folder / "model").string(),
          "dataset_dir=" + (folder / "data").string(),
          "output_dir=" + (folder / "adapter").string(),
          "dataset=" + dataset,
          "template=qwen3_nothink",
          "max_steps=3",
          "logging_steps=1"};
}

}  // namespace

TEST_CASE("programs: a decoder without a tower trains, merges, answers and serves, and refuses images") {
  const TemporaryFolder folder;
  const Program made = make_text_model(folder.path() / "files", folder.path() / "model");
  INFO(made.output);
  REQUIRE(made.status == 0);

  fs::create_directories(folder.path() / "data");
  std::ofstream(folder.path() / "data" / "dataset_info.json") << R"({"text": {"file_name": "text.json"},
             "shown": {"file_name": "shown.json", "columns": {"prompt": "instruction", "response": "output", "images": "images"}}})";
  std::ofstream text(folder.path() / "data" / "text.json");
  text << "[";
  for (int i = 0; i < 16; ++i)
    text << (i ? "," : "") << R"({"instruction": "What is )" << i << R"( + 1?", "output": ")" << i + 1 << R"("})";
  text << "]";
  text.close();
  std::ofstream(folder.path() / "data" / "shown.json")
      << R"([{"instruction": "<image>What?", "output": "A table.", "images": [")" LAMINA_SOURCE_DIR
         R"(/data/tables/heldout_0002.jpg"]}])";

  const Program trained = run_program("lamina-train", training(folder.path(), "text"));
  INFO(trained.output);
  REQUIRE(trained.status == 0);
  const Program shown = run_program("lamina-train", training(folder.path(), "shown"));
  INFO(shown.output);
  CHECK(shown.status == 1);
  CHECK(contains(shown.output, "the model reads none"));

  const std::vector<std::string> merge = {"model_name_or_path=" + (folder.path() / "model").string(),
                                          "adapter_name_or_path=" + (folder.path() / "adapter").string(),
                                          "template=qwen3_nothink",
                                          "export_dir=" + (folder.path() / "merged").string()};
  const Program merged = run_program("lamina-merge", merge);
  INFO(merged.output);
  REQUIRE(merged.status == 0);
  const Program answered = run_program("lamina-chat", {"--model", (folder.path() / "merged").string(), "--prompt",
                                                       "What is 3 + 1?", "--max-tokens", "4"});
  INFO(answered.output);
  CHECK(answered.status == 0);

  ServeProcess server(folder.path(), "text", "");
  const nlohmann::json question = {{"model", "tiny"},
                                   {"max_tokens", 4},
                                   {"temperature", 0},
                                   {"messages", {{{"role", "user"}, {"content", "What is 3 + 1?"}}}}};
  CHECK(server.ask(question)["message"]["role"] == "assistant");
  nlohmann::json with_image = question;
  with_image["messages"][0]["content"] = {
      {{"type", "image_url"}, {"image_url", {{"url", "data:image/png;base64,iVBORw0KGgo="}}}}};
  CHECK(contains(error_of([&] { server.ask(with_image); }), "the model reads no images"));
}
