#include <lamina/core/error.hpp>
#include <lamina/model/qwen_vl/chat.hpp>
#include <lamina/text/tokenizer.hpp>
#include "support.hpp"

#include <functional>
#include <vector>

using namespace lamina::text;
using Json = nlohmann::ordered_json;

namespace {

/// The message with which loading fails; each part of `wanted` must be in it.
void check_refused(const std::filesystem::path& folder, const std::vector<std::string>& wanted) {
  std::string message = "it loaded";
  try {
    Tokenizer::load(folder, lamina::qwen_vl::control_tokens);
  } catch (const lamina::Error& error) {
    message = error.what();
  }
  CAPTURE(message);
  for (const auto& part : wanted) {
    CAPTURE(part);
    CHECK(message.find(part) != message.npos);
  }
}

/// Changes the small tokenizer.json and expects a refusal.
void check_broken(const std::function<void(Json&)>& damage, std::vector<std::string> wanted) {
  Json json = test_text::read_json("tiny_json/tokenizer.json");
  damage(json);
  const test_text::TemporaryFolder folder("tokenizer");
  folder.write("tokenizer.json", json.dump());
  wanted.push_back("tokenizer.json");
  check_refused(folder.path, wanted);
}

}  // namespace

TEST_CASE("TokenizerFiles: missing and broken files are named") {
  const test_text::TemporaryFolder folder("files");
  check_refused(folder.path, {folder.path.string(), "tokenizer.json", "vocab.json"});
  folder.write("tokenizer.json", "{\"model\": ");
  check_refused(folder.path, {"tokenizer.json", "not valid JSON"});
  folder.write("tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 7031645\n");
  check_refused(folder.path, {"tokenizer.json", "is a git-lfs pointer, not the file itself", "git lfs pull"});
  folder.write("tokenizer.json", "[]");
  check_refused(folder.path, {"tokenizer.json", "wanted an object"});
  folder.write("tokenizer.json", "{}");
  check_refused(folder.path, {"tokenizer.json", "model.type", "BPE"});
  folder.write("tokenizer.json", R"({"model": {"vocab": {"a": 0, "b": 1, "a": 2}}})");
  check_refused(folder.path, {"tokenizer.json", "a is set twice: keep one"});
  folder.write("tokenizer.json", "{\"a\": \"\xff\"}");
  check_refused(folder.path, {"tokenizer.json", "not valid JSON"});
}

TEST_CASE("TokenizerFiles: a tokenizer of another kind is refused by its field") {
  check_broken([](Json& j) { j["model"]["type"] = "Unigram"; }, {"model.type", "Unigram", "BPE"});
  check_broken([](Json& j) { j["model"]["byte_fallback"] = true; }, {"model.byte_fallback"});
  check_broken([](Json& j) { j["model"]["ignore_merges"] = true; }, {"model.ignore_merges"});
  check_broken([](Json& j) { j["normalizer"] = nullptr; }, {"normalizer.type", "NFC"});
  check_broken([](Json& j) { j["pre_tokenizer"] = nullptr; }, {"pre_tokenizer.type"});
  check_broken([](Json& j) { j["pre_tokenizer"]["pretokenizers"] = 3; }, {"pre_tokenizer.pretokenizers"});
  check_broken([](Json& j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = R"(\p{N}{1,3}|.)"; },
               {"pre_tokenizer.pretokenizers[0].pattern.Regex", "{1,3}"});
  check_broken([](Json& j) { j["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = true; },
               {"pre_tokenizer.pretokenizers[1].add_prefix_space"});
  check_broken([](Json& j) { j["decoder"] = nullptr; }, {"decoder.type"});
}

TEST_CASE("TokenizerFiles: a vocabulary with wrong tokens or ids is refused") {
  check_broken([](Json& j) { j["model"].erase("vocab"); }, {"model.vocab"});
  check_broken([](Json& j) { j["model"]["vocab"]["a"] = "x"; }, {"model.vocab[\"a\"]"});
  check_broken([](Json& j) { j["model"]["vocab"]["a"] = -5; }, {"model.vocab[\"a\"]", "-5"});
  check_broken([](Json& j) { j["model"]["vocab"]["a"] = 1'000'000'000'000; }, {"model.vocab[\"a\"]"});
  check_broken([](Json& j) { j["model"]["vocab"]["a"] = j["model"]["vocab"]["b"]; }, {"given to two tokens"});
  check_broken([](Json& j) { j["model"]["vocab"].erase("!"); }, {"byte 33"});
  check_broken([](Json& j) { j["model"]["vocab"]["\u4e2d"] = 5000; }, {"\u4e2d", "alphabet"});
  check_broken([](Json& j) { j["model"]["vocab"][""] = 5000; }, {"alphabet"});
}

TEST_CASE("TokenizerFiles: merges of unknown tokens are refused by their number") {
  check_broken([](Json& j) { j["model"]["merges"] = "a b"; }, {"model.merges"});
  check_broken([](Json& j) { j["model"]["merges"][3] = 7; }, {"model.merges[3]"});
  check_broken([](Json& j) { j["model"]["merges"][3] = "abc"; }, {"model.merges[3]", "abc"});
  check_broken([](Json& j) { j["model"]["merges"][3] = {"qqq", "b"}; }, {"merge 3", "qqq", "lacks"});
  check_broken([](Json& j) { j["model"]["merges"][3] = {"q", "z"}; }, {"merge 3", "makes \"qz\""});
}

TEST_CASE("TokenizerFiles: added tokens that cannot be honoured are refused") {
  check_broken([](Json& j) { j["added_tokens"] = 1; }, {"added_tokens"});
  check_broken([](Json& j) { j["added_tokens"][0]["lstrip"] = true; }, {"added_tokens[0].lstrip"});
  check_broken([](Json& j) { j["added_tokens"][0]["single_word"] = true; }, {"added_tokens[0].single_word"});
  check_broken([](Json& j) { j["added_tokens"][0]["content"] = ""; }, {"added_tokens[0].content"});
  check_broken([](Json& j) { j["added_tokens"][0]["id"] = 3; }, {"<|endoftext|>", "another token's"});
  check_broken([](Json& j) { j["added_tokens"][0]["content"] = "a"; }, {"added token \"a\""});
  check_broken([](Json& j) { j["added_tokens"][0]["special"] = 2; }, {"added_tokens[0].special"});
}

TEST_CASE("TokenizerFiles: vocab.json needs its companions") {
  const auto copy = [](const test_text::TemporaryFolder& folder, const std::string& name) {
    folder.write(name, test_text::read_file(test_text::golden("tiny_vocab") / name));
  };
  const test_text::TemporaryFolder folder("vocab");
  copy(folder, "vocab.json");
  check_refused(folder.path, {"merges.txt", "cannot open"});
  copy(folder, "merges.txt");
  check_refused(folder.path, {"tokenizer_config.json", "cannot open"});
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": {}})");
  check_refused(folder.path, {"tokenizer_config.json", "tokenizer_class", "GPT2Tokenizer"});
  folder.write("tokenizer_config.json", R"({"tokenizer_class": "Qwen2Tokenizer"})");
  check_refused(folder.path, {"tokenizer_config.json", "added_tokens_decoder"});
  folder.write("tokenizer_config.json",
               R"({"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": {"x1": {"content": "<a>"}}})");
  check_refused(folder.path, {"tokenizer_config.json", "x1"});
  copy(folder, "tokenizer_config.json");
  folder.write("merges.txt", "#version: 0.2\na b c\n");
  check_refused(folder.path, {"merges.txt", "line 2", "a b c"});
  folder.write("merges.txt", "#version: 0.2\r\nqqq b\r\n");
  check_refused(folder.path, {"merges.txt", "qqq"});
}
