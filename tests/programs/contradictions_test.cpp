#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "programs/program.hpp"
#include "support/catch.hpp"
#include "support/error_of.hpp"

using namespace lamina::testing;
namespace fs = std::filesystem;

namespace {

using Words = std::vector<std::string>;

bool tells(const Program& program, const std::string& text) { return contains(program.output, text); }

/// A file of JSON with some fields replaced.
void change(const fs::path& file, const nlohmann::ordered_json& fields) {
  std::ifstream in(file);
  auto json = nlohmann::ordered_json::parse(in);
  in.close();
  json.merge_patch(fields);
  std::ofstream(file) << json;
}

/// data/qwen3_vl_tiny with weights.
struct Model {
  TemporaryFolder folder;
  fs::path path = folder.path() / "model";

  Model() { REQUIRE(make_model("qwen3_vl_tiny", path).status == 0); }
  Program chat(const Words& more) const {
    Words words = {"--model", path.string(), "--prompt", "x", "--max-tokens", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program("lamina-chat", words);
  }
  Program train(const Words& more) const {
    Words words = {"model_name_or_path=" + path.string(),
                   "dataset=skills",
                   "dataset_dir=" LAMINA_SOURCE_DIR "/data",
                   "template=qwen3_vl_nothink",
                   "output_dir=" + (folder.path() / "out").string(),
                   "do_train=true",
                   "--dry-run"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program("lamina-train", words);
  }
};

}  // namespace

TEST_CASE("Programs: lengths, sizes and layers that the model cannot have are 2, with one that it can") {
  const Model model;
  const auto serve = [&](Words words) {
    words.insert(words.begin(), model.path.string());
    const Program program = run_program("lamina-serve", words);
    CHECK(program.status == 2);
    return program;
  };
  const std::string too_long = "max_model_len: 99999999 is more than the model's max_position_embeddings, 32768";
  const Program chat = model.chat({"--max-model-len", "99999999"});
  CHECK(chat.status == 2);
  CHECK(tells(chat, too_long));
  CHECK(tells(serve({"--max-model-len", "99999999"}), too_long));
  const Program one_byte = serve({"--max-model-len", "100", "--kv-cache-memory-bytes", "1"});
  const std::string least = ": a sequence of 100 tokens needs 2 pages of keys and values, ";
  CHECK(tells(one_byte, "kv_cache_memory_bytes: is 1" + least));
  CHECK(tells(one_byte, " bytes: raise it to at least "));
  CHECK_FALSE(tells(one_byte, "set max_model_len"));  // no length would do
  const Program one_page = serve({"--max-model-len", "100", "--num-gpu-blocks-override", "1"});
  CHECK(tells(one_page, "num_gpu_blocks_override: is 1" + least));
  CHECK(tells(one_page, ": raise it to at least 2, or set max_model_len to at most 64"));
  const Program target = model.train({"lora_target=v_porj"});
  CHECK(target.status == 2);
  CHECK(tells(target, "lora_target: v_porj is in the name of no layer of this model (did you mean v_proj?)"));
}

TEST_CASE("Programs: flags and keys that have no effect are said to have none") {
  const Model model;
  const Program revision = model.chat({"--revision", "abc", "--download-dir", "/nowhere"});
  CHECK(revision.status == 0);
  CHECK(tells(revision, "note: --revision abc has no effect: " + model.path.string() + " is no repository of a hub\n"));
  CHECK(tells(revision, "note: --download-dir has no effect: "));
  const Program greedy = model.chat({"--greedy", "--temperature", "0", "--top-p", "0.5"});
  CHECK(greedy.status == 0);
  CHECK(tells(greedy, "note: --top-p has no effect: the most probable token is always taken\n"));
  const Program shown = model.chat({"--show-prompt"});
  CHECK(tells(shown, "note: --max-tokens has no effect: --show-prompt answers nothing\n"));
  const Program layers = model.train({"finetuning_type=freeze", "freeze_trainable_layers=1000", "model_revision=abc"});
  CHECK(layers.status == 0);
  CHECK(tells(layers, "note: model_revision abc has no effect: "));
  CHECK(tells(layers, "note: freeze_trainable_layers: 1000: the model has 4 layers, and all learn\n"));
}

TEST_CASE("Programs: a model whose files name other tokens than its tokenizer has is refused") {
  const Model model;
  change(model.path / "generation_config.json", {{"eos_token_id", 999999}});
  const Program end = model.chat({});
  CHECK(end.status == 1);
  CHECK(tells(end, "generation_config.json: eos_token_id is 999999, and the model's tokens are 0 to "));
  change(model.path / "generation_config.json", {{"eos_token_id", nullptr}});
  change(model.path / "config.json", {{"eos_token_id", 999999}});
  CHECK(tells(model.chat({}), "/config.json: eos_token_id is 999999, and the model's tokens are 0 to "));
  change(model.path / "config.json", {{"eos_token_id", nullptr}});
  change(model.path / "config.json", {{"image_token_id", 7}});
  for (const Program& program : {model.chat({}), model.train({})}) {
    CHECK(program.status == 1);
    CHECK(tells(program, "config.json: image_token_id is 7, and the tokenizer's <|image_pad|> is "));
  }
}

TEST_CASE("lamina-train: a data set whose records are empty is refused in whole sentences") {
  const Model model;
  std::ofstream(model.folder.path() / "dataset_info.json") << R"({"empty": {"file_name": "empty.json"}})";
  for (const auto& [records, message] :
       {std::pair("{}", "has the column \"instruction\"; the first has none at all: correct \"columns\""),
        std::pair("[]", "empty.json holds no record\n")}) {
    std::ofstream(model.folder.path() / "empty.json") << records;
    const Program program = model.train({"dataset=empty", "dataset_dir=" + model.folder.path().string()});
    CHECK(program.status == 1);
    CHECK(tells(program, message));
  }
}
